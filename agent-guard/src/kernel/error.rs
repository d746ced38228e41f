//! What can fail on the kernel side: one variant a failed act, with its remedy.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;

/// An act on the kernel side that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon was built without its kernel object.
    #[error("this daemon was built without its kernel programs: run `cargo xtask build-ebpf` and build it again")]
    NoObject,
    /// BPF LSM is off.
    #[error(
        "the kernel does not enforce BPF LSM programs (its security modules are `{active}`): add `bpf` to the \
         `lsm=` boot parameter"
    )]
    LsmInactive {
        /// Content of `/sys/kernel/security/lsm`.
        active: String,
    },
    /// Tags would not always be found.
    #[error(
        "this kernel is older than 6.2 and fully preemptible, where a guarded task may be taken for another: boot with          `preempt=voluntary`"
    )]
    FullPreemption,
    /// The list of security modules cannot be read.
    #[error("cannot read {path}: {}; mount securityfs there", causes(source))]
    ReadLsm {
        /// The list's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel's types cannot be read.
    #[error("cannot read the kernel's types from {path}: {}; the kernel needs CONFIG_DEBUG_INFO_BTF", causes(source))]
    ReadBtf {
        /// The types' path.
        path: PathBuf,
        /// Why.
        source: btf_rs::Error,
    },
    /// The kernel's types cannot be read by aya.
    #[error("cannot parse the kernel's types: {}", causes(.0))]
    ParseBtf(#[source] aya::BtfError),
    /// A kernel member that the programs need is not there.
    #[error("this kernel has no `{structure}.{path}`, which the programs read: please report its version")]
    NoMember {
        /// The structure.
        structure: &'static str,
        /// The member.
        path: &'static str,
    },
    /// A hook that enforcement needs is not there.
    #[error("this kernel has no LSM hook `{hook}`: agent-guard needs 6.1 or later")]
    NoHook {
        /// The hook.
        hook: &'static str,
    },
    /// The pin directory cannot be made.
    #[error("cannot create {path}: {}; mount bpffs there (`mount -t bpf bpf /sys/fs/bpf`)", causes(source))]
    CreatePins {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory of pins cannot be claimed.
    #[error("cannot claim {path}: {}", causes(source))]
    ClaimPins {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A daemon works with what is pinned.
    #[error("a daemon works with what is pinned in {path}: stop it first")]
    PinsHeld {
        /// The directory.
        path: PathBuf,
    },
    /// A pin cannot be listed or removed.
    #[error("cannot remove the pin {path}: {}", causes(source))]
    RemovePin {
        /// The pin.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pinned map has another shape than this daemon's.
    #[error(
        "the pinned map {path} has another shape than this version's: stop all sessions, run `agent-guard detach`, \
         and start the daemon again"
    )]
    MapShape {
        /// The pin.
        path: PathBuf,
    },
    /// The object was refused.
    #[error("the kernel refused agent-guard's maps: {}", causes(.0))]
    LoadObject(#[source] Box<aya::EbpfError>),
    /// No programs are pinned where a start's are.
    #[error("no programs are pinned below {}: somebody removed them; restart the daemon", path.display())]
    NoStart {
        /// Where.
        path: PathBuf,
    },
    /// A program on socket addresses cannot be attached.
    #[error(
        "cannot attach `{program}` to the root of the cgroups: {}; mount cgroup2 at /sys/fs/cgroup",
        causes(source)
    )]
    AttachAddress {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program is not in the object.
    #[error("the kernel object has no program `{program}`: it was built from other sources than the daemon")]
    NoProgram {
        /// The program.
        program: &'static str,
    },
    /// A map is not in the object, or of another type.
    #[error("the kernel object has no map `{map}` of the right type: it was built from other sources than the daemon")]
    NoMap {
        /// The map.
        map: &'static str,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the program `{program}`: {}", causes(source))]
    LoadProgram {
        /// The program.
        program: &'static str,
        /// Why, with the verifier's log.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be attached.
    #[error("cannot attach the program `{program}`: {}", causes(source))]
    AttachProgram {
        /// The program.
        program: &'static str,
        /// Why.
        source: Box<aya::programs::ProgramError>,
    },
    /// A link could not be pinned.
    #[error("cannot pin the program `{program}` at {path}: {}", causes(source.as_ref()))]
    PinProgram {
        /// The program.
        program: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A map could not be read.
    #[error("cannot read the map `{map}`: {}", causes(source))]
    ReadMap {
        /// The map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A map could not be written.
    #[error("cannot write the map `{map}`: {}", causes(source))]
    WriteMap {
        /// The map.
        map: &'static str,
        /// Why; E2BIG means that it is full.
        source: MapError,
    },
    /// A policy was installed out of order.
    #[error("policy generation {given} does not follow {current}")]
    Generation {
        /// The one given.
        given: u32,
        /// The one in force.
        current: u32,
    },
    /// The kernel did not wait for its readers.
    #[error("cannot wait for running programs to end (bpf): {}", causes(.0))]
    Barrier(#[source] io::Error),
    /// There is no such process.
    #[error("there is no process {pid}: {}", causes(source))]
    ProcessGone {
        /// Its id.
        pid: u32,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// The adopting program does not run, or what it tells cannot be read.
    #[error("cannot run over all tasks: {}", causes(.0.as_ref()))]
    Adopt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The ring cannot be waited for.
    #[error("cannot wait for kernel events: {}", causes(.0))]
    WaitForEvents(#[source] io::Error),
    /// No random key.
    #[error("cannot get random bytes for the identity key: {}", causes(.0))]
    Random(#[source] io::Error),
    /// The guard's own refusal did not happen.
    #[error("the start check failed: a refusal that must happen did not; nothing is enforced on this kernel")]
    NotEnforced,
    /// The start check itself could not be run.
    #[error("cannot run the start check: {what}: {}", causes(source))]
    SelfTest {
        /// The act that failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// An error and all that caused it: the layers below keep the errno to the last.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

impl Error {
    /// Makes the error of a map that could not be read.
    pub(super) fn read(map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::ReadMap { map, source }
    }

    /// Makes the error of a map that could not be written.
    pub(super) fn write(map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::WriteMap { map, source }
    }
}
