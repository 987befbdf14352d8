//! A hostile store: huge counts, bombs and trees without end are errors in bounded memory.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use m365_fuzz::{STORED, TARGETS, parser};

/// Bytes of the inputs that repeat the smallest thing that a parser takes.
const INPUT_BYTES: usize = 1 << 20;
/// What a parser may take of memory for each byte that it is given.
const AMPLIFICATION: usize = 64;
/// What any of them may take beside that.
const BESIDE_KIB: usize = 48 << 10;

/// The most memory that this process ever had resident, in KiB, where the system tells.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A frame of zstd that inflates to a gibibyte of zeros, out of 32 KiB.
fn bomb() -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for left in (0..8192u32).rev() {
        let header = u32::from(left == 0) | 1 << 1 | BLOCK << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// What begins a list of values of the parser, up to its count.
fn before_count(name: &str) -> &'static [u8] {
    match name {
        "segment directory" => &[1, 7, 0],
        "slot" => &[1, 0, 0],
        "recipe" => &[0, 0],
        "plan" | "verdict" | "done" => &[1, 1],
        "memory of samples" => &[1],
        _ => &[],
    }
}

#[test]
fn huge_counts_bombs_and_endless_trees_are_errors_in_bounded_memory() {
    let bomb = bomb();
    let before = peak();
    let mut inputs = 0;
    for name in STORED.iter().flat_map(|(_, names)| *names) {
        let parse = parser(name).unwrap();
        let start = before_count(name);
        // More than there is, and as many of the smallest as there is room for.
        for count in [u64::MAX, u64::from(u32::MAX), 1 << 20] {
            let input = [start, &varint(count), &[0; 64]].concat();
            assert!(parse(&input).is_err(), "{name} counts {count}");
            inputs += 1;
        }
        for each in 1..40 {
            for fill in [0, 1, 0xff] {
                let count = varint((INPUT_BYTES / each) as u64);
                let input = [start, &count, &vec![fill; INPUT_BYTES]].concat();
                let _any_outcome = parse(&input).is_ok();
                inputs += 1;
            }
        }
    }
    // Claims that are honest, too small, and beyond every limit.
    for claim in [1u64 << 30, 1 << 20, 16, u64::MAX, (1 << 20) + 1] {
        let length = (bomb.len() as u64).to_le_bytes();
        let object = [&[1][..], &length, &claim.to_le_bytes(), &bomb].concat();
        assert!(parser("small object").unwrap()(&object).is_err(), "{claim}");
        inputs += 1;
    }
    for claim in [0u16, 1, 0x7fff, 0xffff] {
        let plain = u32::from(claim) << 8 | 0xff;
        let head = [&claim.to_be_bytes()[..], &[1], &plain.to_le_bytes()].concat();
        let block = [&head[..], &bomb].concat();
        assert!(parser("block").unwrap()(&block).is_err(), "{claim}");
        inputs += 1;
    }
    // Every node of the tree is this one: an index node that leads to itself.
    let (_, tree) = TARGETS
        .iter()
        .find(|(name, _)| *name == "store_tree")
        .unwrap();
    for level in 0..8 {
        let child = [&[1, b'k'][..], &[0; 32], &1u64.to_le_bytes()].concat();
        tree(&[&[level, b'T', 1, level][..], &child].concat());
        inputs += 1;
    }
    let (Some(before), Some(after)) = (before, peak()) else {
        println!("{inputs} hostile inputs; this system does not tell of memory");
        return;
    };
    let grown = after - before;
    println!("{inputs} hostile inputs: the peak grew by {grown} KiB, from {before} KiB");
    assert!(
        grown <= AMPLIFICATION * INPUT_BYTES / 1024 + BESIDE_KIB,
        "{grown} KiB"
    );
}
