//! Knee: how many units under way bring all the throughput that there is.
//!
//! Beyond the knee, units only wait for each other, for a full line or a busy service, and those with
//! the longest way to go, which the end of the run depends on, wait like all others. So, as long as
//! more wait than may go, it is tried now and then whether fewer bring as much, or more bring more.

use std::time::Duration;

/// Finds the knee by trial.
///
/// *Shape*: a state machine. What is tried is compared with what came before and after it, so that
/// a slow change of the work itself does not count for or against it.
#[derive(Debug, Clone)]
pub(super) struct Knee {
    most: usize,
    /// Where the knee is believed to be.
    found: usize,
    stage: Stage,
    upwards: bool,
    /// Trials in a row that found nothing better.
    in_vain: u32,
    /// Units that ended since `since`.
    ended: usize,
    since: Duration,
    /// What is under way was let go under another limit.
    settles: bool,
}

/// What is measured, with the paces that are known: units a second.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Rests(u32),
    Before,
    Tries(f64),
    After(f64, f64),
}

impl Knee {
    /// Begins with as many units as may be.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            found: most,
            stage: Stage::Before,
            upwards: false,
            in_vain: 0,
            ended: 0,
            since: Duration::ZERO,
            settles: true,
        }
    }

    /// Returns how many units may be under way.
    pub(super) fn allowed(&self) -> usize {
        match self.stage {
            Stage::Tries(_) => self.tried(),
            _ => self.found,
        }
    }

    /// Counts a unit that has ended.
    pub(super) fn note_end(&mut self) {
        self.ended += 1;
    }

    /// Goes on, if enough has ended. Without a backlog the pace says nothing: what was begun is
    /// begun anew.
    pub(super) fn look(&mut self, now: Duration, has_backlog: bool) {
        if !has_backlog || self.most < WORTH_IT {
            if !matches!(self.stage, Stage::Rests(_)) {
                self.stage = Stage::Before;
            }
            self.settles = true;
            self.restart(now);
            return;
        }
        if self.ended < self.wanted() {
            return;
        }
        if self.settles {
            self.settles = false;
            self.restart(now);
            return;
        }
        let span = now.saturating_sub(self.since).as_secs_f64();
        let pace = self.ended as f64 / span.max(f64::EPSILON);
        let before = self.allowed();
        self.stage = match self.stage {
            Stage::Rests(0) => Stage::Before,
            Stage::Rests(left) => Stage::Rests(left - 1),
            Stage::Before => Stage::Tries(pace),
            Stage::Tries(before) => Stage::After(before, pace),
            Stage::After(before, tried) => self.judge(f64::midpoint(before, pace), tried),
        };
        self.settles = self.allowed() != before;
        self.restart(now);
    }

    /// Takes over what was tried, or tries the other direction after a rest.
    fn judge(&mut self, held: f64, tried: f64) -> Stage {
        let half = 0.5 / STEPS as f64;
        let least = if self.upwards { 1.0 + half } else { 1.0 - half };
        if tried >= held * least {
            self.found = self.tried();
            self.in_vain = 0;
        } else {
            self.in_vain += 1;
            self.upwards = !self.upwards;
        }
        // There is nothing above the most, and the least is enough.
        if self.tried() == self.found {
            self.upwards = !self.upwards;
        }
        match self.in_vain {
            0 => Stage::Before,
            vain => Stage::Rests(1 << vain.min(LONGEST_REST)),
        }
    }

    /// Returns how many units are tried next, between a quarter of the most and the most.
    fn tried(&self) -> usize {
        let step = self.found / STEPS;
        match self.upwards {
            true => (self.found + step).min(self.most),
            false => (self.found - step).max(self.most / 4),
        }
    }

    /// Returns how many units must end: twice around until those of the earlier limit are gone, then
    /// so many that chance weighs less than half a step.
    fn wanted(&self) -> usize {
        match self.settles {
            true => 2 * self.allowed(),
            false => (8 * self.allowed()).max(ENOUGH),
        }
    }

    fn restart(&mut self, now: Duration) {
        self.ended = 0;
        self.since = now;
    }
}

/// Into how many steps the next trial cuts what is allowed: it differs by one.
///
/// *Source*: this and what follows are our own choice, held by the bench of time over bound.
const STEPS: usize = 8;
/// Below so many units the knee is not looked for: chance weighs more than a step.
const WORTH_IT: usize = 64;
/// How many units show a pace to about two in a hundred.
const ENOUGH: usize = 2_048;
/// After trials in vain, the rest grows to two to the power of this, in spans of a measurement.
const LONGEST_REST: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets units go as allowed for `seconds`, over a line that carries so many a second.
    fn play(knee: &mut Knee, from: u64, seconds: u64, line: impl Fn(u64) -> f64) -> Vec<usize> {
        let (mut whole, mut seen) = (0.0, Vec::new());
        for tick in from * 100..(from + seconds) * 100 {
            let now = Duration::from_millis(tick * 10);
            let unhindered = knee.allowed() as f64 / 0.25;
            whole += unhindered.min(line(tick / 100)) / 100.0;
            while whole >= 1.0 {
                knee.note_end();
                whole -= 1.0;
            }
            knee.look(now, true);
            seen.push(knee.found);
        }
        seen
    }

    #[test]
    fn a_full_line_is_kept_full_by_as_few_as_can() {
        let mut knee = Knee::new(512);
        let seen = play(&mut knee, 0, 120, |_| 1_500.0);
        assert!((360..=420).contains(&knee.found), "{}", knee.found);
        let settled = &seen[seen.len() / 2..];
        assert!(settled.iter().all(|found| (340..=430).contains(found)));
    }

    #[test]
    fn where_more_bring_more_all_go() {
        let mut knee = Knee::new(512);
        let seen = play(&mut knee, 0, 300, |_| f64::MAX);
        assert!(seen.iter().all(|found| *found == 512));
        // Trials in vain become rare.
        assert!(knee.in_vain >= 4);
    }

    #[test]
    fn when_the_line_grows_more_go_again() {
        let mut knee = Knee::new(512);
        let line = |second| if second < 100 { 800.0 } else { 1_800.0 };
        play(&mut knee, 0, 100, line);
        assert!(knee.found < 250, "{}", knee.found);
        play(&mut knee, 100, 400, line);
        assert!(knee.found > 410, "{}", knee.found);
    }

    #[test]
    fn a_drift_of_the_work_decides_nothing() {
        let mut knee = Knee::new(512);
        for (second, pace) in (0..200).zip(0..) {
            // Ever slower, whatever is allowed: fewer are as good, until the least.
            play(&mut knee, second, 1, |_| 1_000.0 - f64::from(pace) * 2.0);
        }
        assert!(knee.found < 256);
        let slower = |second: u64| 4.0 - second as f64 / 400.0;
        let mut knee = Knee::new(512);
        for second in 0..200 {
            let allowed = knee.allowed() as f64;
            play(&mut knee, second, 1, |_| allowed * slower(second));
        }
        assert_eq!(knee.found, 512, "in proportion to what is allowed");
    }

    #[test]
    fn a_time_before_the_last_one_stops_nothing() {
        let mut knee = Knee::new(512);
        play(&mut knee, 100, 2, |_| f64::MAX);
        for _ in 0..10 {
            (0..10_000).for_each(|_| knee.note_end());
            knee.look(Duration::ZERO, true);
        }
        assert!(knee.allowed() >= 128);
    }

    #[test]
    fn without_a_backlog_or_with_few_nothing_is_tried() {
        let mut knee = Knee::new(512);
        for second in 0..100 {
            for _ in 0..10_000 {
                knee.note_end();
            }
            knee.look(Duration::from_secs(second), second % 2 != 0);
            assert_eq!(knee.allowed(), 512);
        }
        let mut few = Knee::new(WORTH_IT - 1);
        play(&mut few, 0, 100, |_| 10.0);
        assert_eq!(few.allowed(), WORTH_IT - 1);
    }
}
