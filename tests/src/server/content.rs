//! Content: the second origin, which serves and takes bytes without a token.

use super::answer::{Outcome, Refusal};
use super::call::Call;

/// Answers one request to the content origin.
pub(super) fn route(call: &Call) -> Outcome {
    Err(Refusal::no_such_segment(call))
}
