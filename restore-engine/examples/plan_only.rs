//! Shows a saved plan, without store or network: `cargo run --example plan_only -- plan.json`.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use restore_engine::RestorePlan;

fn main() -> Result<(), Box<dyn Error>> {
    let saved = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("plan.json").to_owned(),
    };
    let plan: RestorePlan = serde_json::from_str(&saved)?;
    print!("{plan}");
    if !plan.totals.check() {
        return Err("the counts of this plan do not add up".into());
    }
    Ok(())
}
