//! What the daemon counts, and how it is written for Prometheus (text format 0.0.4). Pure: figures in, text out.
//!
//! It must not know where the figures come from. No label names an object, a person, a session or a rule: whoever reads this
//! may be anybody on the machine. Written here and not by a library: those keep a registry of their own and write the newer
//! OpenMetrics, and there is one snapshot to write.

use std::fmt::{self, Display};

use super::types::Failure;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Version of the program.
    pub version: &'static str,
    /// Since the daemon started, in nanoseconds.
    pub uptime_ns: u64,
    /// Counts the policies that were put in force.
    pub generation: u32,
    /// Requests that wait for an answer.
    pub pending: u64,
    /// How long the oldest of them waits, in nanoseconds; 0 without one.
    pub oldest_ns: u64,
    /// Requests that were asked.
    pub asked: u64,
    /// Requests that ended, by how they did.
    pub ended: Vec<Ended>,
    /// Approvals that became refusals, since they could not be recorded or delivered.
    pub withdrawn: u64,
    /// Questions that were refused, since too many were waiting.
    pub crowded_out: u64,
    /// Approvals that reach further than one act, and hold.
    pub grants: u64,
    /// Sessions by their stage.
    pub sessions: Vec<(&'static str, u64)>,
    /// Judgements of the kernel side by their kind.
    pub judged: Vec<(&'static str, u64)>,
    /// What failed or was lost in the kernel.
    pub failures: Vec<Failure>,
    /// The audit log.
    pub audit: Audit,
}

/// Requests that ended in one way, and how long they took from the question on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How they ended.
    pub standing: &'static str,
    /// An upper bound in seconds, and how many took longer than the bound before and no longer than this one.
    pub took: Vec<(u64, u64)>,
    /// How many took longer than the last bound.
    pub longer: u64,
    /// What they took together, in nanoseconds.
    pub sum_ns: u64,
}

/// The audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Records that were appended.
    pub records: u64,
    /// Records that could not be.
    pub failed: u64,
    /// Number of the last record.
    pub sequence: u64,
}

/// What a metric is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Nanoseconds, written as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// The text so far.
struct Page(String);

impl Page {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.0.push_str(&format!("# HELP agent_guard_{name} {help}\n# TYPE agent_guard_{name} {kind}\n"));
    }

    /// Adds a figure of the metric that was begun.
    fn figure(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0.push_str(&format!("agent_guard_{name}{labels} {value}\n"));
    }

    /// A metric that is one figure.
    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.figure(name, &[], value);
    }

    /// A metric that is one figure for each value of a label.
    fn by(&mut self, name: &str, kind: Kind, help: &str, label: &str, figures: &[(&str, u64)]) {
        self.metric(name, kind, help);
        figures.iter().for_each(|(value, count)| self.figure(name, &[(label, value)], count));
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

impl Metrics {
    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page(String::new());
        page.metric("build_info", Kind::Gauge, "The program: always 1.");
        page.figure("build_info", &[("version", self.version)], 1);
        page.single("uptime_seconds", Kind::Gauge, "Since the daemon started.", Seconds(self.uptime_ns));
        let help = "Counts the policies that were put in force.";
        page.single("policy_generation", Kind::Gauge, help, self.generation);
        self.requests(&mut page);
        let help = "Approvals that reach further than one act, and hold.";
        page.single("grants", Kind::Gauge, help, self.grants);
        page.by("sessions", Kind::Gauge, "Sessions that have not ended.", "stage", &self.sessions);
        self.kernel(&mut page);
        let help = "Audit records that were appended since the daemon started.";
        page.single("audit_records_total", Kind::Counter, help, self.audit.records);
        let help = "Audit records that could not be appended since the daemon started.";
        page.single("audit_failures_total", Kind::Counter, help, self.audit.failed);
        page.single("audit_sequence", Kind::Gauge, "Number of the last audit record.", self.audit.sequence);
        page.0
    }

    fn requests(&self, page: &mut Page) {
        page.single("requests_pending", Kind::Gauge, "Requests that wait for an answer.", self.pending);
        let help = "How long the oldest request waits that is pending; 0 without one.";
        page.single("requests_oldest_pending_seconds", Kind::Gauge, help, Seconds(self.oldest_ns));
        page.single("requests_asked_total", Kind::Counter, "Requests that were asked.", self.asked);
        let counts: Vec<_> = self.ended.iter().map(|ended| (ended.standing, ended.count())).collect();
        page.by("requests_ended_total", Kind::Counter, "Requests that ended, by how they did.", "standing", &counts);
        let name = "requests_duration_seconds";
        page.metric(name, Kind::Histogram, "Time from the question to its end, by how it ended.");
        for ended in &self.ended {
            ended.write(page, name);
        }
        let help = "Approvals that became refusals, since they could not be recorded or delivered.";
        page.single("approvals_withdrawn_total", Kind::Counter, help, self.withdrawn);
        let help = "Questions that were refused, since too many requests were waiting.";
        page.single("questions_crowded_out_total", Kind::Counter, help, self.crowded_out);
    }

    fn kernel(&self, page: &mut Page) {
        let help = "Judgements of the kernel programs, since they were attached first.";
        page.by("kernel_judgements_total", Kind::Counter, help, "kind", &self.judged);
        let help = "Acts of the kernel programs that failed or were lost; none on a healthy machine.";
        page.metric("kernel_failures_total", Kind::Counter, help);
        for Failure { place, errno, count } in &self.failures {
            page.figure("kernel_failures_total", &[("place", place), ("errno", errno)], count);
        }
    }
}

impl Ended {
    fn count(&self) -> u64 {
        self.took.iter().map(|(_, count)| count).sum::<u64>() + self.longer
    }

    fn write(&self, page: &mut Page, name: &str) {
        let (bucket, standing) = (format!("{name}_bucket"), ("standing", self.standing));
        let mut below = 0;
        for (bound, count) in &self.took {
            below += count;
            page.figure(&bucket, &[standing, ("le", &bound.to_string())], below);
        }
        page.figure(&bucket, &[standing, ("le", "+Inf")], self.count());
        page.figure(&format!("{name}_sum"), &[standing], Seconds(self.sum_ns));
        page.figure(&format!("{name}_count"), &[standing], self.count());
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Failure, Metrics};

    #[test]
    fn times_are_counted_up_to_each_bound_and_figures_are_in_seconds() {
        let ended =
            Ended { standing: "approved", took: vec![(1, 2), (5, 0), (60, 1)], longer: 3, sum_ns: 1_500_000_001 };
        let text = Metrics { ended: vec![ended], oldest_ns: 20_000_000, ..Metrics::default() }.text();
        let expected = [
            "agent_guard_requests_oldest_pending_seconds 0.020000000",
            "agent_guard_requests_ended_total{standing=\"approved\"} 6",
            "# TYPE agent_guard_requests_duration_seconds histogram",
            "agent_guard_requests_duration_seconds_bucket{standing=\"approved\",le=\"1\"} 2",
            "agent_guard_requests_duration_seconds_bucket{standing=\"approved\",le=\"5\"} 2",
            "agent_guard_requests_duration_seconds_bucket{standing=\"approved\",le=\"60\"} 3",
            "agent_guard_requests_duration_seconds_bucket{standing=\"approved\",le=\"+Inf\"} 6",
            "agent_guard_requests_duration_seconds_sum{standing=\"approved\"} 1.500000001",
            "agent_guard_requests_duration_seconds_count{standing=\"approved\"} 6",
        ];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn no_label_ends_before_its_value_does() {
        let failure = Failure { place: "a \"b\\\nc".to_owned(), errno: "EPERM".to_owned(), count: 1 };
        let text = Metrics { failures: vec![failure], ..Metrics::default() }.text();
        let line = r#"agent_guard_kernel_failures_total{place="a \"b\\\nc",errno="EPERM"} 1"#;
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}
