//! Drives: the Graph paths below `/drives` and `/users/{id}/drive`.

use super::answer::{Outcome, Refusal};
use super::call::Call;

/// Answers one request about drives.
pub(super) fn route(call: &Call) -> Outcome {
    Err(Refusal::no_such_segment(call))
}
