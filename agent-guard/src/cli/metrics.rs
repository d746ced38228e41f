//! `metrics`: what the daemon counts, as Prometheus reads it.

use super::{Error, output};
use crate::api::client::Client;

/// Prints it.
pub(super) async fn run(client: &Client) -> Result<(), Error> {
    Ok(output::print(&client.metrics().await?)?)
}
