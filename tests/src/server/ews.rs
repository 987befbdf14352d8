//! EWS: Exchange Web Services.

use super::answer::{Outcome, Refusal};
use super::call::Call;

/// Answers one SOAP request.
pub(super) fn route(call: &Call) -> Outcome {
    Err(Refusal::no_such_segment(call))
}
