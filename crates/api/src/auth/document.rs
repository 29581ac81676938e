//! What the OpenAPI document says about keys. It is written where the guard is put up, so that it can't say
//! anything else than what is done.

use utoipa::openapi::{
    OpenApi, RefOr, Response,
    path::Operation,
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use crate::openapi::operations;

const X_API_KEY: &str = "x-api-key";
const OPEN_SANDBOX: &str = "open-sandbox-api-key";
const BEARER: &str = "bearer";
const TOKEN: &str = "x-execd-access-token";

/// Describes the headers that a key may come in.
pub(crate) fn schemes_add(document: &mut OpenApi) {
    let header = |name| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(X_API_KEY, header("x-api-key"));
    components.add_security_scheme(OPEN_SANDBOX, header("OPEN-SANDBOX-API-KEY"));
    components.add_security_scheme(TOKEN, header("X-EXECD-ACCESS-TOKEN"));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
}

/// Says of every operation that it asks for a key.
pub(super) fn guard_note(document: &mut OpenApi) {
    requirement_note(document, &[X_API_KEY, OPEN_SANDBOX, BEARER]);
}

/// Says of every operation that a key will do, or the token of the sandbox that it is about. Who asks for them is the
/// extractor of its handler.
pub(crate) fn token_note<S: Clone + Send + Sync + 'static>(mut router: OpenApiRouter<S>) -> OpenApiRouter<S> {
    requirement_note(router.get_openapi_mut(), &[X_API_KEY, OPEN_SANDBOX, BEARER, TOKEN]);
    router
}

fn requirement_note(document: &mut OpenApi, schemes: &[&str]) {
    operations(document, |_, operation| operation_note(operation, schemes));
}

fn operation_note(operation: &mut Operation, schemes: &[&str]) {
    let requirement = |name: &&str| SecurityRequirement::new(*name, Vec::<String>::new());
    operation.security = Some(schemes.iter().map(requirement).collect());
    for (status, why) in
        [("400", "The request is not as it should be"), ("401", "No API key, or none that counts")]
    {
        let refused = || RefOr::T(Response::new(why));
        operation.responses.responses.entry(status.to_owned()).or_insert_with(refused);
    }
}
