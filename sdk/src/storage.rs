//! Storage leases: who keeps fragments, and parts of their disks.

use isos_base::api::{
    KeepersView, ProveRequest, QuotaView, ReleaseRequest, RenewRequest, StorageLeaseView,
    StorageLeases, StorageRequest,
};
use isos_base::price::StoragePrice;
use isos_base::{Bytes, LeaseId};

use crate::call::{Again, Call};
use crate::client::{Client, query};
use crate::error::ClientError;

/// Leases that are asked for at once.
const PAGE_ROWS: u64 = 1_000;

impl Client {
    /// Hosts that one could lease of, a sample by chance: those with room for so much, that cost no
    /// more for a GiB and month. What decides how fragments are spread over them comes with each.
    pub async fn keepers(
        &self,
        bytes: Bytes,
        price_max: Option<StoragePrice>,
        limit: u32,
    ) -> Result<KeepersView, ClientError> {
        let price_max = price_max.map(|price| price.0.into());
        let limit = Some(limit.into());
        let query = query(&[("bytes", Some(bytes.0)), ("price_max", price_max), ("limit", limit)]);
        self.json(Call::get(format!("/v1/storage/hosts{query}"))).await
    }

    /// Leases storage, each lease on another host. With a key it is repeated until there is an
    /// answer, and leases once however often it arrives; without one it is not when nobody knows
    /// whether it was carried out: list the leases then.
    pub async fn lease_storage(
        &self,
        request: &StorageRequest,
    ) -> Result<Vec<StorageLeaseView>, ClientError> {
        let again = if request.key.is_some() { Again::Yes } else { Again::IfUnsent };
        let made: StorageLeases =
            self.json(Call::post("/v1/storage/leases", request, again)).await?;
        Ok(made.leases)
    }

    /// All open leases of the account, with fresh copies of their grants.
    pub async fn storage_leases(&self) -> Result<Vec<StorageLeaseView>, ClientError> {
        let mut all: Vec<StorageLeaseView> = Vec::new();
        loop {
            let after = all.last().map_or(LeaseId(0), |last| last.id);
            let query = query(&[("after", Some(after.0)), ("limit", Some(PAGE_ROWS))]);
            let page: StorageLeases =
                self.json(Call::get(format!("/v1/storage/leases{query}"))).await?;
            // A server that does not go on is not asked for ever.
            let goes_on = page.more && page.leases.last().is_some_and(|last| last.id > after);
            all.extend(page.leases);
            if !goes_on {
                return Ok(all);
            }
        }
    }

    /// Renews leases, or makes them larger or smaller: all or none. Twice is as good as once.
    pub async fn renew_storage(
        &self,
        request: &RenewRequest,
    ) -> Result<Vec<StorageLeaseView>, ClientError> {
        let call = Call::post("/v1/storage/leases/renew", request, Again::Yes);
        let changed: StorageLeases = self.json(call).await?;
        Ok(changed.leases)
    }

    /// Gives leases up: all or none. Not sent again when nobody knows whether it arrived, since the
    /// second time they would not be found.
    pub async fn release_storage(
        &self,
        request: &ReleaseRequest,
    ) -> Result<Vec<StorageLeaseView>, ClientError> {
        let call = Call::post("/v1/storage/leases/release", request, Again::IfUnsent);
        let ended: StorageLeases = self.json(call).await?;
        Ok(ended.leases)
    }

    /// Has the complex ask a host to prove that it has what a lease is paid for. If it cannot, the
    /// lease is over in some minutes.
    pub async fn prove_storage(&self, request: &ProveRequest) -> Result<(), ClientError> {
        let call = Call::post("/v1/storage/leases/prove", request, Again::Yes);
        self.json::<StorageLeases>(call).await.map(drop)
    }

    /// What the account holds of others' disks, and what that costs.
    pub async fn quota(&self) -> Result<QuotaView, ClientError> {
        self.json(Call::get("/v1/storage/quota")).await
    }
}
