//! The policy in force: from its file to the kernel, and the names that it gives to the numbers of events.
//!
//! A policy that cannot be put into force as it is, is refused as a whole, and the one before stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_guard_common::credential::Environment;
use agent_guard_common::hash::{SipKey, letters};
use jiff::Timestamp;

use super::looks::Looks;
use super::lookups::{self, Hearing};
use super::places::Places;
use super::resolve;
use crate::kernel::support::{self, Support};
use crate::kernel::{self, Kernel};
use crate::policy::{self, Checked, CompileError, Compiled, Facts, Fault, RuleInfo};

/// Bytes of a policy file.
const FILE_BYTES: u64 = 1 << 20;

/// Why a policy was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file could not be read.
    #[error("cannot read the policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too long to be a policy.
    #[error("the policy {} is longer than {FILE_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The text has faults.
    #[error("the policy {} has {} faults: {}", path.display(), faults.len(), lines(faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// All of them.
        faults: Vec<Fault>,
    },
    /// The running kernel lacks hooks.
    #[error("this kernel cannot enforce {operation}, which the policy speaks of: it lacks the hooks {missing}")]
    Unenforceable {
        /// The operation.
        operation: &'static str,
        /// What is missing.
        missing: String,
    },
    /// What the policy names could not be looked up.
    #[error(transparent)]
    Resolve(#[from] resolve::Failure),
    /// It does not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The kernel did not take it.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Whoever read it is gone.
    #[error("reading the policy was interrupted")]
    Interrupted,
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A policy that was read and looked up, and can be compiled.
#[derive(Debug)]
pub(super) struct Prepared {
    checked: Checked,
    places: Places,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    /// What its text and its hosts' addresses come to, as one number.
    number: u32,
}

/// What a policy that is put in force must keep, since sessions run.
#[derive(Debug)]
pub(super) struct Kept {
    /// The indices of their profiles.
    pub(super) profiles: BTreeMap<String, u32>,
    /// The addresses that they know by names.
    pub(super) hearings: Vec<Hearing>,
}

/// The policy in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) path: PathBuf,
    pub(super) loaded_at: Timestamp,
    pub(super) checked: Checked,
    pub(super) places: Places,
    /// The places that it labels, as canonical paths; each question that is being completed holds on to them.
    pub(super) labelled: Arc<BTreeSet<String>>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    number: u32,
    pub(super) compiled: Arc<Compiled>,
    /// The one before: events that were on their way speak of it.
    previous: Option<Arc<Compiled>>,
}

/// Reads a policy file and looks up what it names.
pub(super) async fn prepare(path: PathBuf, looks: Looks) -> Result<Prepared, Failure> {
    let (text, checked) =
        tokio::task::spawn_blocking(move || read(&path)).await.map_err(|_panicked| Failure::Interrupted)??;
    let hosts: Vec<String> = checked.hosts().map(str::to_owned).collect();
    let hosts = resolve::hosts(&hosts).await?;
    let places = looks.places(wanted(&checked)).await?;
    // Half of a hash: two policies in a row that come to the same are judged as one.
    let number = letters(format!("{text}{hosts:?}").as_bytes()) as u32;
    Ok(Prepared { checked, places, hosts, number })
}

fn wanted(checked: &Checked) -> Vec<String> {
    checked.paths().map(str::to_owned).collect()
}

/// The text, and what it says.
fn read(path: &Path) -> Result<(String, Checked), Failure> {
    let failure = |source| Failure::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failure)?.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failure)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Failure::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| failure(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let checked = policy::load(&text).map_err(|faults| Failure::Faults { path: path.to_owned(), faults })?;
    enforceable(&checked)?;
    Ok((text, checked))
}

/// Refuses what the running kernel cannot enforce: it must not be trimmed in silence.
fn enforceable(checked: &Checked) -> Result<(), Failure> {
    let needed = checked.operations();
    let lacking =
        support::probe()?.into_iter().find(|found| found.support != Support::Full && needed.contains(&found.operation));
    lacking.map_or(Ok(()), |found| {
        Err(Failure::Unenforceable { operation: found.operation.name(), missing: found.missing.join(", ") })
    })
}

impl InForce {
    /// Puts the first policy in force.
    pub(super) fn first(
        path: PathBuf,
        prepared: Prepared,
        kernel: &mut Kernel,
        kept: Kept,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let Prepared { checked, places, hosts, number } = prepared;
        let compiled = install(kernel, &checked, &places, &hosts, number, kept)?;
        places.tell(&Places::default());
        let labelled = Arc::new(places.labelled());
        Ok(Self { path, loaded_at: now, checked, places, labelled, hosts, number, compiled, previous: None })
    }

    /// Puts another policy in force; on failure everything stays as it is.
    pub(super) fn replace(
        &mut self,
        prepared: Prepared,
        kernel: &mut Kernel,
        kept: Kept,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let Prepared { checked, places, hosts, number } = prepared;
        let places = places.keeping(&self.places);
        let compiled = install(kernel, &checked, &places, &hosts, number, kept)?;
        self.previous = Some(std::mem::replace(&mut self.compiled, compiled));
        places.tell(&self.places);
        self.labelled = Arc::new(places.labelled());
        (self.checked, self.places, self.loaded_at) = (checked, places, now);
        (self.hosts, self.number) = (hosts, number);
        Ok(())
    }

    /// Takes a new look at the policy's paths into account. What has not changed is not installed again.
    pub(super) fn refresh(&mut self, places: Places, kernel: &mut Kernel, kept: Kept) -> Result<bool, Failure> {
        let places = places.keeping(&self.places);
        let has_changed = places.facts != self.places.facts;
        if has_changed {
            let compiled = install(kernel, &self.checked, &places, &self.hosts, self.number, kept)?;
            self.previous = Some(std::mem::replace(&mut self.compiled, compiled));
            self.labelled = Arc::new(places.labelled());
        }
        places.tell(&self.places);
        self.places = places;
        Ok(has_changed)
    }

    /// Tells it from another one, also in a daemon to come: two that come to the same have the same.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// The paths that it names.
    pub(super) fn wanted(&self) -> Vec<String> {
        wanted(&self.checked)
    }

    /// The compiled policy that an event speaks of, if it is this one or the one before.
    pub(super) fn generation(&self, generation: u32) -> Option<&Arc<Compiled>> {
        let known = [Some(&self.compiled), self.previous.as_ref()];
        known.into_iter().flatten().find(|compiled| compiled.generation == generation)
    }

    /// A rule's names, as an event gives its number.
    pub(super) fn rule(&self, generation: u32, rule: u16) -> Option<&RuleInfo> {
        self.generation(generation)?.rules.get(usize::from(rule))
    }

    /// The environments that a label's objects are credentials of, as an event gives its number.
    pub(super) fn credential(&self, generation: u32, label: u16) -> impl Iterator<Item = Environment> {
        let compiled = self.generation(generation);
        let bits = compiled.and_then(|compiled| compiled.credentials.get(usize::from(label))).copied();
        Environment::of(u64::from(bits.unwrap_or(0)))
    }

    /// A label's name, as an event gives its number.
    pub(super) fn label(&self, generation: u32, label: u16) -> String {
        let known = self.generation(generation).and_then(|compiled| compiled.labels.get(usize::from(label)));
        known.map_or_else(|| format!("label {label}"), |label| label.name.clone())
    }
}

fn install(
    kernel: &mut Kernel,
    checked: &Checked,
    places: &Places,
    hosts: &BTreeMap<String, Vec<IpAddr>>,
    number: u32,
    kept: Kept,
) -> Result<Arc<Compiled>, Failure> {
    let generation = kernel.generation().wrapping_add(1);
    let key: SipKey = kernel.key();
    let (homes, paths) = (places.homes.clone(), places.facts.clone());
    let facts = Facts { generation, key, profiles: kept.profiles, homes, paths, hosts: hosts.clone() };
    let compiled = policy::compile(checked, &facts)?;
    kernel.install(&compiled, &lookups::labels(&kept.hearings, &compiled), number)?;
    Ok(Arc::new(compiled))
}
