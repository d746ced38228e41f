//! Owns the incident's tests: each asserts the facts of a chapter of the story that `cargo xtask demo` tells.
//!
//! Must not have facts of its own. The story is told once; whichever test comes first waits for it.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use agent_guard_tests::incident::{self, Chapter};

static STORY: LazyLock<Vec<Chapter>> = LazyLock::new(incident::tell);

/// Every fact of a chapter holds, and these are among them.
fn assert_told(name: &str, expected: &[&str]) {
    let Some(chapter) = STORY.iter().find(|chapter| chapter.name == name) else {
        panic!("the story has no chapter {name}: {STORY:#?}");
    };
    for fact in &chapter.facts {
        assert!(fact.holds, "not so: {}\n{chapter:#?}", fact.text);
    }
    for text in expected {
        assert!(chapter.facts.iter().any(|fact| fact.text == *text), "nothing was found of: {text}\n{chapter:#?}");
    }
}

#[test]
fn scenario_a_daemon_guards_a_production_that_stands() {
    assert_told("prologue", &["the daemon guards, and the stack stands"]);
}

#[test]
fn scenario_without_a_guard_the_stack_is_gone() {
    assert_told("unguarded", &["the stack is gone"]);
}

#[test]
fn scenario_nobody_answers_and_the_stack_stands() {
    assert_told("expired", &["nobody answered: the request expired", "the stack stands still"]);
}

#[test]
fn scenario_a_person_denies_and_the_stack_stands() {
    assert_told("denied", &["the deletion was refused", "the stack stands still"]);
}

#[test]
fn scenario_a_person_approves_and_the_stack_is_gone_after_that_and_not_before() {
    assert_told(
        "approved",
        &["the stack stands before the last yes", "after the yes, and not before, the stack is gone"],
    );
}

#[test]
fn scenario_the_agent_says_what_it_intends_and_two_people_must_agree() {
    assert_told(
        "approved",
        &[
            "the request carries what the agent claims",
            "and says what it leaves out",
            "one yes is not enough",
            "the stack stands after one yes",
        ],
    );
}

#[test]
fn scenario_the_log_is_verified_on_another_root_and_shows_what_was_changed() {
    assert_told(
        "proof",
        &["the log is whole, by the key alone, on a root of its own", "a no that was made a yes is found, and named"],
    );
}

#[test]
fn scenario_the_daemon_is_killed_after_the_approval_and_the_stack_stands() {
    assert_told("killed", &["the approval had not lapsed by itself", "the stack stands still"]);
}

#[test]
fn scenario_boto3_instead_of_the_cli_is_held_at_the_connection() {
    assert_told("boto3", &["its connection to 203.0.113.10 is held", "the stack stands still"]);
}

#[test]
fn scenario_the_agents_other_work_goes_on_during_every_hold() {
    for name in ["expired", "denied", "boto3", "approved", "killed", "second-act"] {
        assert_told(name, &["the agent's other work goes on"]);
    }
}

#[test]
fn scenario_rm_rf_is_held_at_its_first_file_and_the_request_says_how_many_it_would_take() {
    assert_told("second-act", &["rm is held at its first file", "the request says that it would take 40 files"]);
}
