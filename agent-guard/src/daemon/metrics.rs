//! What the daemon counts, gathered from all that count it. It must not change any of it, nor name what is counted.

use super::{Daemon, view};
use crate::api::metrics::{Audit, Ended, Metrics};
use crate::api::refusal::Refusal;
use crate::decision::{BOUNDS, Standing, Waits};
use crate::session::{Session, Stage};
use crate::system::clock;

impl Daemon {
    /// What is counted, at this instant.
    pub(super) fn count(&self) -> Result<Metrics, Refusal> {
        let counters = self.kernel.counters().map_err(|error| Refusal::Failed(error.to_string()))?;
        let (now_ns, tally, written) = (clock::monotonic_ns(), self.state.tally(), self.log.written());
        let pending = self.state.requests().filter(|request| request.standing == Standing::Pending);
        let oldest_ns = pending.map(|request| request.asked.monotonic_ns).min();
        let stages = ["starting", "active", "halted"];
        let in_stage = |stage| self.sessions.iter().filter(|session| stage_of(session) == stage).count() as u64;
        Ok(Metrics {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ns: now_ns.saturating_sub(self.started.monotonic_ns),
            generation: self.policy.compiled.generation,
            pending: self.state.pending() as u64,
            oldest_ns: oldest_ns.map_or(0, |asked_ns| now_ns.saturating_sub(asked_ns)),
            asked: tally.asked(),
            ended: tally.ended().map(|(standing, waits)| ended(standing, waits)).collect(),
            withdrawn: tally.withdrawn(),
            crowded_out: self.state.crowded_out(),
            grants: self.state.grants().count() as u64,
            sessions: stages.map(|stage| (stage, in_stage(stage))).into(),
            judged: counters.judged,
            failures: counters.failures.iter().map(view::failure).collect(),
            audit: Audit { records: written.records, failed: written.failed, sequence: written.sequence },
        })
    }
}

fn ended(standing: Standing, waits: &Waits) -> Ended {
    let took = BOUNDS.into_iter().zip(waits.counts).collect();
    let [.., longer] = waits.counts;
    Ended { standing: standing.word(), took, longer, sum_ns: waits.sum_ns }
}

const fn stage_of(session: &Session) -> &'static str {
    match session.stage {
        Stage::Active if !session.executed => "starting",
        Stage::Active => "active",
        Stage::Halted => "halted",
    }
}
