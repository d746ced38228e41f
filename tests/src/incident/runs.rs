//! Owns the chapters: the same agent, unguarded and guarded, and what comes of it each time.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::agent::{self, Agent, in_time};
use super::cloud::{Cloud, STACK};
use super::proof;
use super::story::Story;
use crate::guest::{CONTROL_SOCKET, Daemon, approve, as_user, eventually, http, request, sessions};

const POLICY: &str = include_str!("../../incident/policy.yaml");
const DATA: &str = "/srv/prod";
/// Files below the data's directory.
const FILES: u64 = 40;
const APPROVER: u32 = 1001;
/// A daemon that has not been heard of for so long is gone, for the kernel's hooks.
const SILENCE: Duration = Duration::from_secs(3);
/// An approval that is not used within this time lapses by itself.
const APPROVAL: Duration = Duration::from_secs(5);
/// How often the last chapter is begun anew where the host is too slow for it.
const ATTEMPTS: u32 = 5;

/// What the chapters have in common.
struct World {
    cloud: Cloud,
    daemon: Daemon,
}

pub(super) fn tell(story: &mut Story) {
    let Some(world) = story.chapter("prologue", "Production", prologue) else { return };
    story.chapter("unguarded", "An agent without a guard", |story| unguarded(story, &world));
    story.chapter("expired", "Under guard, and nobody answers", |story| expired(story, &world));
    story.chapter("denied", "Under guard, and a person says no", |story| denied(story, &world));
    story.chapter("boto3", "Under guard, by python instead of the AWS CLI", |story| boto3(story, &world));
    story.chapter("approved", "Under guard, and a person says yes", |story| approved(story, &world));
    story.chapter("second-act", "Second act: rm -rf /srv/prod", second_act);
    story.chapter("killed", "The daemon is killed between the yes and the act", |story| killed(story, &world));
    story.chapter("proof", "At last: what the log proves, to somebody who trusts nobody here", proof::tell);
}

fn prologue(story: &mut Story) -> World {
    story.says(&format!("A cloud with the stack {STACK}, and {DATA} with {FILES} files: both are production."));
    let cloud = Cloud::start();
    agent::install();
    make_data();
    let daemon = Daemon::start(POLICY);
    cloud.build();
    story.fact("the daemon guards, and the stack stands", cloud.stack().is_some());
    World { cloud, daemon }
}

fn unguarded(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut agent = Agent::unguarded("unguarded", "cli");
    let status = agent.wait();
    story.says(&agent.run.stdout());
    story.fact("the agent had its way: it deleted the stack and recreated it", status == 0);
    story.fact("the stack is gone", world.cloud.stack().as_ref() != Some(&stack));
}

fn expired(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut agent = Agent::guarded("nobody-answers", "cli");
    let request = held_command(story, &agent, "delete-stack");
    show(story, &request);
    stands(story, world, &stack, "while it waits");
    let status = agent.wait();
    story.says(&agent.run.stderr());
    story.fact("nobody answered: the request expired", state(&request) == "expired");
    story.fact("the deletion was refused, and the agent goes on as after any failure", status == 126);
    stands(story, world, &stack, "still");
}

fn denied(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut agent = Agent::guarded("denied", "cli");
    let request = held_command(story, &agent, "delete-stack");
    answer(story, &request, "deny", "patch it instead");
    let status = agent.wait();
    story.says(&agent.run.stderr());
    story.fact("the person's no reached the agent, with the reason", {
        state(&request) == "denied" && agent.run.stderr().contains("patch it instead")
    });
    story.fact("the deletion was refused", status == 126);
    stands(story, world, &stack, "still");
}

fn boto3(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut agent = Agent::guarded("boto3", "boto3");
    let request = held_connection(story, &agent);
    show(story, &request);
    story.fact("the request shows what connects", words(&request).contains("delete_stack"));
    stands(story, world, &stack, "while it waits");
    answer(story, &request, "deny", "not by another door either");
    let status = agent.wait();
    story.fact("the connection was refused", status == 1 && state(&request) == "denied");
    stands(story, world, &stack, "still");
}

fn approved(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut agent = Agent::guarded("approved", "cli");
    let command = held_command(story, &agent, "delete-stack");
    let intent = &command["intent"];
    story.fact("the request carries what the agent claims", {
        intent["why"] == "the figures are stale" && intent["alternatives"][0] == "update the stack in place"
    });
    story.fact("and says what it leaves out", intent["lacks"][0] == "rollback");
    answer(story, &command, "approve", "there is a backup");
    story.fact("one yes is not enough", state(&command) == "pending");
    stands(story, world, &stack, "after one yes");
    answer_as(story, 0, &command, "approve", "I have tried the backup");
    story.fact("the second one is", state(&command) == "approved");
    let connection = held_connection(story, &agent);
    stands(story, world, &stack, "before the last yes");
    answer(story, &connection, "approve", "there is a backup");
    in_time("the deletion's end", || agent.run.stdout().contains("Deleted.").then_some(()));
    story.fact("after the yes, and not before, the stack is gone", world.cloud.stack().is_none());
    story.says("One yes is for one act. To recreate the stack is another one:");
    let again = held_command(story, &agent, "create-stack");
    answer(story, &again, "deny", "first the backup");
    agent.wait();
    story.fact("what was not approved did not happen: nothing was recreated", world.cloud.stack().is_none());
    let log = world.daemon.audit();
    let place =
        |what: &str| log.iter().position(|record| record["what"] == what && record["request"] == connection["id"]);
    story.fact("the audit log has question, decision and act in their order", {
        place("held").is_some() && place("held") < place("decided") && place("decided") < place("passed")
    });
}

fn second_act(story: &mut Story) {
    let mut agent = Agent::guarded("second-act", "rm");
    let request = held(&agent);
    show(story, &request);
    let object = request["object"].as_str().unwrap_or_default();
    story.fact("rm is held at its first file", request["operation"] == "delete" && object.starts_with(DATA));
    story.fact(
        &format!("the request says that it would take {FILES} files"),
        request["impact"]["files"] == FILES && request["impact"]["complete"] == true,
    );
    story.fact("the agent's other work goes on", agent.works_on());
    story.fact("every file is there while it waits", count_files(Path::new(DATA)) == FILES);
    client(&["kill", "second-act"]);
    story.fact("the person ends the session instead", agent.wait() == 137);
    story.fact("every file is there", count_files(Path::new(DATA)) == FILES);
}

fn killed(story: &mut Story, world: &World) {
    let stack = world.cloud.build();
    let mut is_fresh = false;
    for attempt in 1..=ATTEMPTS {
        is_fresh = killed_after_approval(story, world, &stack, attempt);
        if is_fresh {
            break;
        }
        // On a busy host: the approval was void by then whatever became of the daemon, so this proves nothing.
        story.says("This took so long that the approval had lapsed by itself. Once more:");
        world.daemon.launch();
    }
    story.fact("the approval had not lapsed by itself", is_fresh);
}

/// Tells whether the approval could still have been used when its process was let go.
fn killed_after_approval(story: &mut Story, world: &World, stack: &str, attempt: u32) -> bool {
    let name = format!("killed-{attempt}");
    let mut agent = Agent::guarded(&name, "boto3");
    let connection = held_connection(story, &agent);
    let cgroup = cgroup_of(&name);
    // Frozen, the held process cannot act on its approval before the daemon is killed.
    freeze(&cgroup, true);
    let approved = Instant::now();
    approve(id(&connection));
    story.fact("a person has approved it", state(&connection) == "approved");
    world.daemon.kill9();
    story.says("The daemon is killed with SIGKILL before the held process has moved; then it may move.");
    sleep(SILENCE + Duration::from_millis(300));
    freeze(&cgroup, false);
    let is_fresh = approved.elapsed() < APPROVAL;
    let status = agent.wait();
    story.fact("without a daemon that accounts for it, the deletion was refused", status == 1);
    stands(story, world, stack, "still");
    is_fresh
}

/// Waits until the agent is held before it executes the AWS CLI.
fn held_command(story: &mut Story, agent: &Agent, verb: &str) -> Value {
    let request = held(agent);
    let is_command = request["operation"] == "command" && words(&request).contains(verb);
    story.fact(&format!("the command `aws ... {verb}` is held before it starts"), is_command);
    works_on(story, agent, &request);
    request
}

/// Waits until a process of the agent is held on its way to the cloud.
fn held_connection(story: &mut Story, agent: &Agent) -> Value {
    let request = held(agent);
    let is_connection = request["operation"] == "connect" && request["object"] == "tcp 203.0.113.10:80";
    story.fact("its connection to 203.0.113.10 is held", is_connection);
    works_on(story, agent, &request);
    request
}

/// Waits for what the agent asks.
fn held(agent: &Agent) -> Value {
    let path = format!("/v1/requests?state=pending&session={}", agent.run.name);
    in_time("the agent asks", || {
        let answer = http(CONTROL_SOCKET, "GET", &path, None).unwrap();
        answer.json().as_array().and_then(|requests| requests.first().cloned())
    })
}

/// The log file is written meanwhile, and not only after the hold.
fn works_on(story: &mut Story, agent: &Agent, request: &Value) {
    let grew = agent.works_on();
    story.fact("the agent's other work goes on", grew && state(request) == "pending");
}

fn stands(story: &mut Story, world: &World, stack: &str, when: &str) {
    story.fact(&format!("the stack stands {when}"), world.cloud.stack().as_deref() == Some(stack));
}

/// What the approver reads.
fn show(story: &Story, request: &Value) {
    story.says("");
    story.says(&client(&["show", id(request)]));
    story.says("");
}

/// What the approver answers.
fn answer(story: &Story, request: &Value, choice: &str, reason: &str) {
    answer_as(story, APPROVER, request, choice, reason);
}

/// What a person answers.
fn answer_as(story: &Story, user: u32, request: &Value, choice: &str, reason: &str) {
    let prompt = if user == 0 { '#' } else { '$' };
    story.says(&format!("{prompt} agent-guard {choice} {} --reason '{reason}'", id(request)));
    story.says(&client_as(user, &[choice, id(request), "--reason", reason]));
}

/// Runs the client as the approver.
fn client(words: &[&str]) -> String {
    client_as(APPROVER, words)
}

fn client_as(user: u32, words: &[&str]) -> String {
    let mut command = Command::new("agent-guard");
    command.args(words);
    let output = if user == 0 { command.output() } else { as_user(&mut command, user).output() }.unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn id(request: &Value) -> &str {
    request["id"].as_str().unwrap()
}

fn state(pending: &Value) -> String {
    request(id(pending))["state"].as_str().unwrap_or_default().to_owned()
}

/// The arguments of the process that asks.
fn words(request: &Value) -> String {
    let words = request["process"]["argv"].as_array().cloned().unwrap_or_default();
    words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

fn cgroup_of(name: &str) -> PathBuf {
    let session = sessions().into_iter().find(|session| session["name"] == name);
    PathBuf::from(session.unwrap()["cgroup"].as_str().unwrap())
}

fn freeze(cgroup: &Path, is_frozen: bool) {
    let digit = u8::from(is_frozen).to_string();
    fs::write(cgroup.join("cgroup.freeze"), &digit).unwrap();
    eventually("the cgroup freezes or thaws", || {
        fs::read_to_string(cgroup.join("cgroup.events")).unwrap().contains(&format!("frozen {digit}")).then_some(())
    });
}

/// The agent's user owns the data, as it has its person's rights everywhere.
fn make_data() {
    let mut directories = vec![PathBuf::from(DATA)];
    directories.extend((0..4).map(|number| Path::new(DATA).join(format!("region-{number}"))));
    for directory in &directories {
        fs::create_dir_all(directory).unwrap();
        chown(directory, Some(1000), Some(1000)).unwrap();
    }
    for number in 0..FILES {
        let name = directories[1 + usize::try_from(number % 4).unwrap()].join(format!("month-{number}"));
        fs::write(name, "figures\n").unwrap();
    }
}

fn count_files(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
