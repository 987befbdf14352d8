//! Drive: the state of one user's drive.

/// One drive.
#[derive(Debug, Default)]
pub struct Drive {}
