//! Recovery kit: one page of text with which a store can be opened years later.

use std::fmt;

use crate::id::StoreId;
use crate::keys::recovery_code::RecoveryCode;
use crate::seal::FORMAT_VERSION;
use crate::store::key_slots::KeySlot;
use crate::time::Timestamp;

/// What to print and keep in a safe place; `to_text` is the page. It holds the recovery code: its
/// `Debug` does not show that.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecoveryKit {
    /// The store that the code opens.
    pub store: StoreId,
    /// Where the store lies, in the caller's words.
    pub place: String,
    /// When the kit was made.
    pub made: Timestamp,
    /// The key epoch at that time.
    pub key_epoch: u32,
    /// The key slots at that time.
    pub slots: Vec<KeySlot>,
    /// The code.
    pub code: RecoveryCode,
}

impl RecoveryKit {
    /// Returns the page. It is a secret: print it once, keep no copy on a computer.
    pub fn to_text(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(Page(self).to_string())
    }
}

struct Page<'a>(&'a RecoveryKit);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kit = self.0;
        writeln!(f, "M365-BACKUP RECOVERY KIT")?;
        writeln!(f)?;
        writeln!(f, "Store           {}", kit.store)?;
        writeln!(f, "Place           {}", kit.place)?;
        writeln!(f, "Format version  {FORMAT_VERSION}")?;
        writeln!(
            f,
            "Made            {} (key epoch {})",
            kit.made, kit.key_epoch
        )?;
        writeln!(f)?;
        writeln!(f, "Recovery code")?;
        writeln!(f)?;
        writeln!(f, "    {}", kit.code.to_text().as_str())?;
        writeln!(f)?;
        writeln!(f, "Keys of the store when this was made:")?;
        for slot in &kit.slots {
            match slot.recipient {
                Some(id) => writeln!(f, "  - {} \"{}\", recipient {id}", slot.kind, slot.label)?,
                None => writeln!(f, "  - {}", slot.kind)?,
            }
        }
        writeln!(f)?;
        f.write_str(INSTRUCTIONS)
    }
}

const INSTRUCTIONS: &str = "\
What this is: whoever has this page and can read the place above can read every backup in it.
Keep it on paper, away from the computers that are backed up, and tell two people where.
Without any key of the list above the backups cannot be read by anyone, for ever.

To open the store with the code:
  1. Install m365-backup (any version that knows the format version above or a later one).
  2. Point it at the place, and give the code when asked for the recovery code. Upper and lower
     case, hyphens and spaces do not matter; there is no letter I, L, O or U in it.
  3. Add a new passphrase, then restore as usual.

Without the program: the format is published in the file FORMAT.md of the crate backup-store.
The code stops working when its key is removed, or when the root key is changed without it:
make a new kit then, and destroy this one.
";
