//! Stories: whole engines against the simulated tenant, in process.

mod costs;
mod faults;
mod interruption;
mod same_as_full;
mod support;
mod true_bytes;
