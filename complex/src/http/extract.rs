//! Extractors that refuse like the rest of the API: with a [`Problem`] as JSON.
//!
//! They are axum's, but for what they say when a request is no good.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use isos_base::api::{Problem, ProblemCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Failure, not_found};

/// A JSON body, of a request or a response.
pub(super) struct Json<T>(pub(super) T);

/// The variable parts of a path.
pub(super) struct Path<T>(pub(super) T);

/// What stands behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let read = axum::Json::<T>::from_request(request, state).await;
        let refuse =
            |rejection: JsonRejection| Refused::new(rejection.status(), rejection.body_text());
        read.map(|axum::Json(body)| Self(body)).map_err(refuse)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let refuse =
            |rejection: PathRejection| Refused::new(rejection.status(), rejection.body_text());
        read.map(|axum::extract::Path(value)| Self(value)).map_err(refuse)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let refuse =
            |rejection: QueryRejection| Refused::new(rejection.status(), rejection.body_text());
        read.map(|axum::extract::Query(value)| Self(value)).map_err(refuse)
    }
}

/// A request that makes no sense, under the status that HTTP has for it.
pub(super) struct Refused {
    status: StatusCode,
    problem: Problem,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code =
            if status.is_server_error() { ProblemCode::Internal } else { ProblemCode::Usage };
        Self { status, problem: Problem::new(code, message) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.problem)).into_response()
    }
}

/// There is nothing under this path.
pub(super) async fn no_route(uri: Uri) -> Failure {
    not_found(format!("{:?} in this API: see /v1/openapi.json", uri.path()))
}

/// The path takes other methods.
pub(super) async fn no_method(uri: Uri) -> Refused {
    let message = format!("{:?} does not take this method: see /v1/openapi.json", uri.path());
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
