//! Slices: hosts that the account holds together by a name.

use hyper::Method;
use isos_base::api::{SliceChange, SliceRequest, SliceView};

use crate::call::{Again, Call, Payload, escape};
use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// The account's slices that are not over; for operators, all of them.
    pub async fn slices(&self) -> Result<Vec<SliceView>, ClientError> {
        self.json(Call::get("/v1/slices")).await
    }

    /// A slice of the account that is not over.
    pub async fn slice(&self, name: &str) -> Result<SliceView, ClientError> {
        self.json(Call::get(path(name))).await
    }

    /// Puts hosts together. With a key it is repeated until there is an answer, and makes one slice
    /// however often it arrives.
    pub async fn make_slice(&self, request: &SliceRequest) -> Result<SliceView, ClientError> {
        let again = if request.key.is_some() { Again::Yes } else { Again::IfUnsent };
        self.json(Call::post("/v1/slices", request, again)).await
    }

    /// Gives a slice more or fewer hosts, or another end.
    pub async fn change_slice(
        &self,
        name: &str,
        change: &SliceChange,
    ) -> Result<SliceView, ClientError> {
        let call = Call::post(path(name), change, Again::Yes);
        self.json(Call { method: Method::PUT, ..call }).await
    }

    /// Gives a slice up, and cancels the jobs on it.
    pub async fn drop_slice(&self, name: &str) -> Result<SliceView, ClientError> {
        self.json(Call::with(Method::DELETE, path(name), Payload::Empty)).await
    }
}

fn path(name: &str) -> String {
    format!("/v1/slices/{}", escape(name))
}
