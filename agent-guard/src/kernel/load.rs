//! Loading: offsets in, maps adopted, programs attached and pinned, in that order.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use agent_guard_common::control;
use agent_guard_common::hash::SipKey;
use agent_guard_common::map;
use agent_guard_common::operation::{Attachment, HOOKS, Hook};
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, CgroupSockAddr, FExit, Lsm, ProgramInfo};
use aya::{Btf, Ebpf, EbpfLoader};

use super::error::Error;
use super::events::EventReader;
use super::known::Known;
use super::maps::{self, Maps};
use super::pins::Start;
use super::{Kernel, Options, pins};
use crate::system;

/// The kernel object, or nothing in a build that was told to do without.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("AGENT_GUARD_BPF_OBJECT"));

/// Where the kernel lists its active security modules.
pub(super) const LSM: &str = "/sys/kernel/security/lsm";

/// See [`Kernel::start`].
#[cfg_attr(feature = "rehearsal", expect(dead_code, reason = "no program is loaded then"))]
pub(super) fn start(options: &Options) -> Result<(Kernel, EventReader), Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    require_lsm(Path::new(LSM))?;
    let known = Known::running()?;
    require_steady_tags(known)?;
    let pinned = pins::maps(&options.pins);
    pins::create(&pinned)?;
    let claim = pins::claim(&options.pins)?;
    maps::check_pinned(&options.pins)?;

    let mut object = self::object(&pinned, &[])?;
    attach(&mut object, known, &pins::links(&options.pins))?;

    let ring = object.take_map(map::EVENTS).ok_or(Error::NoMap { map: map::EVENTS })?;
    let reader = EventReader::new(ring)?;
    let mut maps = Maps::take(&mut object)?;
    make_key(&mut maps)?;
    // The pins keep programs and maps; the object itself is several megabytes of what they were made of.
    drop(object);
    Ok((Kernel { maps, pins: options.pins.clone(), _claim: claim }, reader))
}

/// Without `bpf` in the list programs load, attach, pin, and enforce nothing.
fn require_lsm(path: &Path) -> Result<(), Error> {
    let active = fs::read_to_string(path).map_err(|source| Error::ReadLsm { path: path.to_owned(), source })?;
    if active.trim().split(',').any(|module| module == "bpf") {
        Ok(())
    } else {
        Err(Error::LsmInactive { active: active.trim().to_owned() })
    }
}

/// Before 6.2 task storage is not found while another task of the same CPU is half-way through a look-up: where tasks
/// are preempted there, a guarded one would for a moment look like any other.
fn require_steady_tags(known: &Known) -> Result<(), Error> {
    if system::host::is_fully_preemptible() && !known.has_steady_tags {
        return Err(Error::FullPreemption);
    }
    Ok(())
}

/// The object over the pinned maps, its programs not loaded yet; `told` are constants of one of them.
pub(super) fn object(pinned: &Path, told: &[(&'static str, u64)]) -> Result<Ebpf, Error> {
    let known = Known::running()?;
    let (offsets, values) = (known.offsets()?, known.values()?);
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps(); // task storage, which aya does not know yet
    for (member, offset) in &offsets {
        loader.override_global(member.global, offset, true);
    }
    for (constant, value) in &values {
        loader.override_global(constant.global, value, true);
    }
    for (name, value) in told {
        loader.override_global(name, value, true);
    }
    for name in map::PINNED {
        loader.map_pin_path(name, pinned.join(name));
    }
    loader.load(OBJECT).map_err(|source| Error::LoadObject(Box::new(source)))
}

/// Goes on with the programs of an earlier start, if they are this build's and none is missing; otherwise attaches and
/// pins its own, and only then removes those of earlier starts.
fn attach(object: &mut Ebpf, known: &Known, links: &Path) -> Result<(), Error> {
    pins::create(links)?;
    let mut earlier = pins::starts(links)?;
    let mut pinned = BTreeSet::new();
    for start in &earlier {
        pinned.extend(start.programs(links)?);
    }
    let hooks = wanted(known, &pinned)?;
    let build = SipKey { k0: 0, k1: 0 }.hash(OBJECT);
    match earlier.pop_if(|last| last.build == build) {
        // The kernel has verified them already, and they have judged without a break.
        Some(last) if last.programs(links)? == names(&hooks) => {}
        last => {
            earlier.extend(last);
            let directory = Start::after(&earlier, build).directory(links);
            pins::create(&directory)?;
            let btf = Btf::from_sys_fs().map_err(Error::ParseBtf)?;
            for hook in hooks {
                attach_one(object, hook, &btf, &directory)?;
            }
        }
    }
    earlier.into_iter().try_for_each(|start| start.remove(links))
}

/// The hooks that this kernel has. Of those on demand the policy that was in force may still need what is pinned.
fn wanted(known: &Known, pinned: &BTreeSet<String>) -> Result<Vec<&'static Hook>, Error> {
    // A policy that speaks of an operation without its hook is refused; without the tree's own there is no guard.
    match HOOKS.iter().find(|hook| !known.has(hook) && hook.operations.is_empty()) {
        Some(hook) => Err(Error::NoHook { hook: hook.name }),
        None => Ok(known.hooks.iter().copied().filter(|hook| !hook.on_demand || pinned.contains(hook.name)).collect()),
    }
}

fn names(hooks: &[&Hook]) -> BTreeSet<String> {
    hooks.iter().map(|hook| hook.name.to_owned()).collect()
}

/// Attaches a program of an object, and pins it below its start.
pub(super) fn attach_one(object: &mut Ebpf, hook: &'static Hook, btf: &Btf, directory: &Path) -> Result<(), Error> {
    let program = object.program_mut(hook.name).ok_or(Error::NoProgram { program: hook.name })?;
    let refused = |source| Error::LoadProgram { program: hook.name, source: Box::new(source) };
    let detached = |source| Error::AttachProgram { program: hook.name, source: Box::new(source) };
    // Three types of aya's that share these methods, and no trait that has them.
    macro_rules! attached {
        ($kind:ty) => {{
            let program: &mut $kind = program.try_into().map_err(refused)?;
            program.load(hook.name, btf).map_err(refused)?;
            tell_verified(hook, program.info().ok());
            let id = program.attach().map_err(detached)?;
            FdLink::from(program.take_link(id).map_err(detached)?)
        }};
    }
    let link = match hook.attachment {
        Attachment::Lsm => attached!(Lsm),
        Attachment::Tracepoint => attached!(BtfTracePoint),
        Attachment::Exit => attached!(FExit),
        Attachment::Address => {
            let program: &mut CgroupSockAddr = program.try_into().map_err(refused)?;
            program.load().map_err(refused)?;
            tell_verified(hook, program.info().ok());
            return link_addresses(hook, program.fd().map_err(detached)?.as_fd(), directory);
        }
    };
    let path = directory.join(hook.name);
    // The pin keeps the program attached; our own descriptor is not needed any more.
    let pinned =
        link.pin(&path).map_err(|source| Error::PinProgram { program: hook.name, path, source: Box::new(source) })?;
    drop(pinned);
    Ok(())
}

fn tell_verified(hook: &Hook, info: Option<ProgramInfo>) {
    let verified = info.and_then(|info| info.verified_instruction_count());
    tracing::debug!(program = hook.name, verified, "the kernel has verified a program");
}

/// Attaches a program to the root of the cgroups, and so for everybody, and pins that: aya makes a link of this kind that
/// it does not let go of.
fn link_addresses(hook: &'static Hook, program: BorrowedFd<'_>, directory: &Path) -> Result<(), Error> {
    let failed = |source| Error::AttachAddress { program: hook.name, source };
    let kind = system::bpf::address_kind(hook.name).ok_or(Error::NoProgram { program: hook.name })?;
    let root = system::cgroup::root().map_err(failed)?;
    let link = system::bpf::link(program, root.as_fd(), kind).map_err(failed)?;
    system::bpf::pin(link.as_fd(), &directory.join(hook.name)).map_err(failed)
}

/// Makes the identity key once; a restarted daemon finds the one that pending questions were hashed with.
pub(super) fn make_key(maps: &mut Maps) -> Result<(), Error> {
    if maps.control(control::KEY_0) != 0 {
        return Ok(());
    }
    let bytes: [u8; 16] = system::random::bytes().map_err(Error::Random)?;
    let (first, second) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    maps.set_control(control::KEY_1, word(second))?;
    maps.set_control(control::KEY_0, word(first) | 1) // never 0, which means "not made yet"
}

#[cfg(test)]
mod tests {
    use super::require_lsm;

    #[test]
    fn a_kernel_without_bpf_lsm_is_refused_and_the_remedy_named() {
        let file = std::env::temp_dir().join(format!("agent-guard-lsm-{}", std::process::id()));
        std::fs::write(&file, "lockdown,yama,apparmor\n").expect("writable");
        let error = require_lsm(&file).expect_err("no bpf in it").to_string();
        assert!(error.contains("lockdown,yama,apparmor") && error.contains("lsm="), "{error}");
        std::fs::write(&file, "lockdown,bpf\n").expect("writable");
        require_lsm(&file).expect("bpf is in it");
        std::fs::remove_file(&file).expect("removable");
    }
}
