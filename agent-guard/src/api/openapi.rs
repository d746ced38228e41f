//! The API's description, made from the handlers and types. `docs/openapi.json` is this very text.

use super::call::{Choice, Steer};
use super::routes::{grants, intents, metrics, policy, requests, sessions, status};
use super::types::ErrorBody;
use utoipa::OpenApi as _;
use utoipa::openapi::Required;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "agent-guard", description = "The approval socket: HTTP/1.1 over /run/agent-guard/control.sock \
        (everything; root and group agent-guard) and /run/agent-guard/agent.sock (starting a session for oneself, \
        reading one's own sessions and requests; everybody). One call per connection.", license(name = "MIT OR Apache-2.0")),
    servers((url = "http://localhost")),
    paths(
        status::status, metrics::metrics, status::doctor, status::openapi,
        requests::list, requests::show, requests::answer, requests::reach,
        grants::list, grants::show, grants::revoke, intents::declare,
        sessions::list, sessions::show, sessions::start, sessions::adopt, sessions::notices, sessions::release,
        sessions::steer, sessions::variables,
        policy::check, policy::reload,
    ),
    modifiers(&BodyLeftOut),
    // What stands in a path or a refusal only is not found by itself.
    components(schemas(Choice, Steer, ErrorBody))
)]
struct Description;

/// The body of an answer may be left out, and is never `null`: an optional type would say both.
struct BodyLeftOut;

impl utoipa::Modify for BodyLeftOut {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let answer = description.paths.paths.get_mut("/v1/requests/{id}/{choice}");
        let body = answer.and_then(|path| path.post.as_mut()).and_then(|post| post.request_body.as_mut());
        if let Some(body) = body {
            body.required = Some(Required::False);
        }
    }
}

/// The description as JSON text.
#[must_use]
pub fn text() -> String {
    Description::openapi().to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::text;
    use std::{env, fs};

    /// `BLESS=1 cargo test openapi` writes the file anew.
    #[test]
    fn the_description_that_is_checked_in_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        if env::var_os("BLESS").is_some() {
            fs::write(path, text()).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), text(), "run `BLESS=1 cargo test openapi`");
    }
}
