//! The words of help, recorded: what a person sees is a product.

use crate::support::{assert_words, run_bare};

#[test]
fn help_says_what_there_is_in_recorded_words() {
    assert_words("help", &run_bare(&["--help"]).assert(0).out);
    let commands = [
        "demo",
        "init",
        "backup",
        "worker",
        "sync-check",
        "runs",
        "report",
        "snapshots",
        "ls",
        "diff",
        "find",
        "restore",
        "check",
        "repair",
        "retention",
        "pin",
        "prune",
        "stats",
        "copy",
        "key",
        "auth",
        "completions",
    ];
    for command in commands {
        let said = run_bare(&[command, "--help"]).assert(0);
        assert_words(&format!("help-{command}"), &said.out);
    }
}

#[test]
fn short_and_long_help_are_the_same_so_that_nobody_has_to_know_the_difference() {
    assert_eq!(
        run_bare(&["-h"]).assert(0).out,
        run_bare(&["--help"]).assert(0).out
    );
}

#[test]
fn every_exit_code_is_in_the_help_and_in_the_readme() {
    let readme = include_str!("../README.md");
    let help = run_bare(&["--help"]).assert(0).out;
    for code in [0, 1, 2, 3, 4, 10, 12, 20, 21, 22, 130] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{code} ")))
        );
        assert!(
            readme.contains(&format!("| {code} |")),
            "{code} is not in the README"
        );
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = run_bare(&["completions", shell]).assert(0);
        assert!(said.out.contains("snapshots"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_suggests() {
    let said = run_bare(&["snapshot"]).assert(2);
    assert!(said.err.contains("snapshots"), "{}", said.err);
    run_bare(&["restore", "--passphrase", "in the open"]).assert(2);
}
