//! The OpenAPI document: what the handlers' attributes and the shapes of `isos_base::api` say.
//!
//! It describes the API and is not what the API is made from: a test compares it with the router.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use isos_base::api::Problem;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};
use utoipa::{Modify, OpenApi as _};

use super::{
    Failure, audit, bank, jobs, keys, market, objects, others, pages, ranges, results, slices,
    storage, tickets, trace,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "ISOS complex",
        description = "The HTTP API of a server complex, for programs. Money is in micro-credits, \
            fuel and bytes are plain numbers, times are microseconds since 1970, spans are text. \
            The same API answers on QUIC streams of the complex's endpoint (ALPN `isos/api/1`)."
    ),
    tags(
        (name = "complex", description = "The complex as a whole"),
        (name = "jobs", description = "Submit, watch, cancel, fetch results"),
        (name = "objects", description = "Bytes by the hash that names them"),
        (name = "hosts", description = "Contributed machines"),
        (name = "accounts", description = "Credits, statements, tickets"),
        (name = "bank", description = "Money out and in, and what operators agree on"),
        (name = "market", description = "Prices, bids, reservations"),
        (name = "slices", description = "Hosts that an account holds together by a name"),
        (name = "storage", description = "Leases of hosts' disks, for fragments of objects"),
        (name = "pages", description = "For operators, without a token")
    ),
    paths(
        others::status,
        others::whoami,
        objects::get,
        objects::put,
        jobs::list,
        jobs::submit,
        jobs::plan,
        jobs::show,
        jobs::cancel,
        jobs::events,
        jobs::tasks,
        results::results,
        ranges::ranges,
        trace::trace,
        jobs::leases,
        market::bid,
        market::prices,
        market::history,
        market::barter,
        market::reservations,
        market::reserve,
        market::unreserve,
        slices::list,
        slices::make,
        slices::show,
        slices::change,
        slices::remove,
        storage::keepers,
        storage::list,
        storage::lease,
        storage::renew,
        storage::release,
        storage::quota,
        market::firm,
        market::offer_firm,
        market::end_firm,
        others::hosts,
        others::host,
        others::accounts,
        others::account,
        others::statement,
        others::statement_head,
        others::earnings,
        others::credits,
        bank::pay_out,
        bank::payouts,
        bank::deposit_addresses,
        bank::ledger_head,
        bank::rails,
        bank::outbox,
        bank::proposals,
        bank::approve,
        bank::refuse,
        bank::approvals,
        keys::list,
        keys::add,
        keys::label,
        keys::remove,
        keys::stop_recovery,
        keys::login,
        keys::recover,
        keys::rotate_host,
        audit::list,
        audit::head,
        tickets::make,
        tickets::revoke,
        others::explain,
        document,
        pages::healthz,
        pages::readyz,
        pages::metrics,
        pages::dashboard,
    ),
    components(schemas(Problem), responses(Failure)),
    security(("token" = [])),
    modifiers(&Tokens)
)]
struct Document;

/// A body that is bytes and not JSON.
pub(super) enum Raw {}

impl utoipa::PartialSchema for Raw {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .description(Some("Bytes as they are"))
            .into()
    }
}

impl utoipa::ToSchema for Raw {}

/// What holds for everything that needs a token, or a claim.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("biscuit, base64url".into());
        scheme.description = Some("The token of a ticket".into());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        for item in document.paths.paths.values_mut() {
            // What is posted without a token comes with a claim, which is looked at like one.
            let claims = item.post.as_ref().is_some_and(|post| post.security.is_some());
            for operation in operations(item).filter(|it| claims || it.security.is_none()) {
                for status in ["403", "429", "500", "503", "504"] {
                    let failure = Ref::from_response_name("Failure");
                    operation.responses.responses.insert(status.into(), failure.into());
                }
            }
        }
    }
}

/// The operations of a path, by the methods that this API uses.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// The document never changes while the server runs.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = Document::openapi().to_pretty_json();
    text.expect("the document is made of text, numbers and maps with text keys") + "\n"
});

/// Sends this document.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "getOpenApi",
    tag = "complex",
    security(()),
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
)]
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_in_docs_is_this_one() {
        // After a wanted change, UPDATE_EXPECT=1 writes the file.
        expect_test::expect_file!["../../../docs/openapi.json"].assert_eq(&TEXT);
    }

    #[test]
    fn every_shape_that_is_named_is_described() {
        let schemas = Document::openapi().components.expect("shapes").schemas;
        for rest in TEXT.split("#/components/schemas/").skip(1) {
            let name = rest.split('"').next().expect("a split gives one piece at least");
            assert!(schemas.contains_key(name), "{name} is not described");
        }
    }

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let source = include_str!("../http.rs");
        let router = source.split_once("Router::new()").expect("the router").1;
        let router = router.split_once(".fallback(").expect("the end of the routes").0;
        let methods = ["get", "put", "post", "delete"];
        let mut routes = BTreeSet::new();
        for route in router.split(".route(").skip(1) {
            let (path, handlers) = route.split_once("\",").expect("a path and its handlers");
            let path = path.trim().trim_start_matches('"');
            for method in methods.iter().filter(|method| handlers.contains(&format!("{method}("))) {
                routes.insert((path.to_owned(), *method));
            }
        }
        let mut document = Document::openapi();
        let mut described = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (path, item) in &mut document.paths.paths {
            let slots = [&item.get, &item.put, &item.post, &item.delete];
            for (slot, method) in slots.iter().zip(methods) {
                if slot.is_some() {
                    described.insert((path.clone(), method));
                }
            }
            for operation in operations(item) {
                assert!(operation.summary.is_some(), "{path} has no summary");
                let id = operation.operation_id.clone().expect("an operation id");
                assert!(ids.insert(id), "{path}: an operation id is there twice");
            }
        }
        assert!(routes.len() > 20, "the routes were not found in the source");
        assert_eq!(routes, described);
    }
}
