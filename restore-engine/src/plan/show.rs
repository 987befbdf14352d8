//! How a plan looks to people: short, and with the exact counts.

use std::fmt;

use super::{Placement, RestorePlan};
use crate::loss::Loss;

/// At most so many folders to create are named.
const FOLDERS_SHOWN: usize = 8;

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        writeln!(f, "restore of {} as of {}", self.owner, self.as_of)?;
        write!(
            f,
            "  to        {} ({})",
            self.place.owner, self.place.resource
        )?;
        match &self.into_folder {
            Some(folder) => writeln!(f, ", under \"{folder}\"")?,
            None => writeln!(f)?,
        }
        let (create, merge) = (totals.create_containers, totals.merge_containers);
        writeln!(f, "  folders   {create} to create, {merge} to merge into")?;
        let bytes = show_bytes(totals.bytes);
        writeln!(f, "  items     {} selected", totals.selected)?;
        writeln!(f, "            {} to write ({bytes})", totals.write)?;
        if totals.skip > 0 {
            writeln!(
                f,
                "            {} left alone (rule: {})",
                totals.skip,
                self.conflict.as_str()
            )?;
        }
        if totals.unavailable > 0 {
            writeln!(f, "            {} cannot come back", totals.unavailable)?;
        }
        let requests = self.estimate.requests;
        let time = show_seconds(self.estimate.seconds);
        writeln!(
            f,
            "  cost      about {requests} requests, at least {time} by the service's limits"
        )?;
        self.show_new_folders(f)?;
        self.show_losses(f)
    }
}

impl RestorePlan {
    fn show_new_folders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = self.containers.iter().filter(|each| each.is_new());
        let total = new.clone().count();
        for container in new.take(FOLDERS_SHOWN) {
            writeln!(
                f,
                "  new       {} ({} items)",
                container.path, container.write
            )?;
        }
        if total > FOLDERS_SHOWN {
            writeln!(f, "            and {} more", total - FOLDERS_SHOWN)?;
        }
        Ok(())
    }

    fn show_losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Loss {
            code,
            count,
            examples,
        } in &self.losses
        {
            write!(f, "  differs   {code}: {count} × {}", code.explain())?;
            if let Some(first) = examples.first() {
                write!(f, ", such as \"{first}\"")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl super::PlannedContainer {
    /// Tells whether the container is created.
    pub fn is_new(&self) -> bool {
        matches!(self.placement, Placement::Create { .. })
    }
}

/// Shows a count of bytes in binary units.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

/// Shows a count of seconds in the largest two units.
pub(crate) fn show_seconds(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::{show_bytes, show_seconds};

    #[test]
    fn sizes_and_times_read_well() {
        let check = |bytes, expected: &str| assert_eq!(show_bytes(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(1_572_864, "1.5 MiB");
        check(u64::MAX, "16777215.9 TiB");
        assert_eq!(show_seconds(59), "59 s");
        assert_eq!(show_seconds(61), "1 min 1 s");
        assert_eq!(show_seconds(7260), "2 h 1 min");
    }
}
