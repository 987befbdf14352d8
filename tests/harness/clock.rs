//! The clock of a simulated machine, which may jump, and its randomness, which a seed decides.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use backup_store::Timestamp;
use tokio::time::Instant;

/// Wall clock and random bytes of one life, for the store, the engine and the clients alike.
#[derive(Debug)]
pub struct Clock {
    truth: TrueTime,
    /// How far the machine's own clock is ahead of the truth, in milliseconds.
    ahead: AtomicI64,
    stream: Mutex<blake3::OutputReader>,
}

/// What time it really is.
#[derive(Debug, Clone, Copy)]
pub struct TrueTime {
    /// Milliseconds since 1970 when the life began.
    began_ms: i64,
    began: Instant,
}

impl TrueTime {
    pub fn from(began_ms: i64) -> Self {
        Self {
            began_ms,
            began: Instant::now(),
        }
    }

    pub fn now_ms(&self) -> i64 {
        self.began_ms + self.began.elapsed().as_millis() as i64
    }

    pub fn system(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms().unsigned_abs())
    }
}

impl Clock {
    pub fn new(truth: TrueTime, seed: u64) -> Arc<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"a life");
        hasher.update(&seed.to_le_bytes());
        Arc::new(Self {
            truth,
            ahead: AtomicI64::new(0),
            stream: Mutex::new(hasher.finalize_xof()),
        })
    }

    /// Sets the machine's clock off by so much, from now on.
    pub fn jump(&self, ahead_ms: i64) {
        self.ahead.store(ahead_ms, Ordering::Relaxed);
    }

    /// Sets the clock off by up to ten days, back or forth, or by some minutes.
    pub fn jump_by_lot(&self, lot: u64) {
        const DAY_MS: i64 = 86_400_000;
        let far = (lot % 20) as i64 - 10;
        let ahead = if lot.is_multiple_of(3) {
            far * 60_000
        } else {
            far * DAY_MS
        };
        self.jump(ahead);
    }

    fn now_ms(&self) -> i64 {
        self.truth.now_ms() + self.ahead.load(Ordering::Relaxed)
    }

    fn draw(&self, bytes: &mut [u8]) {
        self.stream.lock().unwrap().fill(bytes);
    }
}

impl backup_store::Environment for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }

    fn fill(&self, bytes: &mut [u8]) -> backup_store::Result<()> {
        self.draw(bytes);
        Ok(())
    }
}

impl m365_auth::Environment for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_ms().unsigned_abs())
    }

    fn fill(&self, bytes: &mut [u8]) -> m365_auth::Result<()> {
        self.draw(bytes);
        Ok(())
    }
}
