//! One server with many viewers: what a delivered line costs beside the limit, how late it is, what is lost.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cpu;
use crate::load::{Group, Load, Tally};
use crate::plan::Plan;
use crate::table::{Row, median};
use crate::target::{LOAD_CORE, Limit, Ours, Target};

/// Length of a line's text.
const LINE_BYTES: usize = 100;
/// Until a new rate is all there is.
const SETTLE: Duration = Duration::from_millis(700);
/// Until whoever is behind has read everything.
const DRAIN_MAX: Duration = Duration::from_mins(2);

/// One window of one target.
#[derive(Clone, Debug)]
struct Sample {
    cpu: Duration,
    tally: Tally,
}

impl Sample {
    /// Nanoseconds for one frame that somebody got.
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    fn per_frame_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / (self.tally.lines + self.tally.others).max(1) as f64
    }

    fn delay_ms(&self, quantile: f64) -> f64 {
        quantile_ms(&self.tally.delays, quantile)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure")]
fn quantile_ms(delays: &Histogram<u32>, quantile: f64) -> f64 {
    delays.value_at_quantile(quantile) as f64 / 1000.0
}

/// The program and the limit, each with as many viewers.
struct Pair {
    load: Load,
    /// Ours, then the limit.
    both: [(Target, Group); 2],
}

impl Pair {
    async fn with(viewers: usize) -> Self {
        let load = Load::on(LOAD_CORE);
        let ours = Target::Ours(Box::new(Ours::start(LINE_BYTES).await));
        let limit = Target::Limit(Limit::start(LINE_BYTES));
        let groups = [load.add(ours.viewers(viewers).await), load.add(limit.viewers(viewers).await)];
        let [first, second] = groups;
        Self { load, both: [(ours, first), (limit, second)] }
    }

    /// The same work for both, in turns: who begins changes. Each stands still while the other works.
    async fn rounds(
        &mut self,
        count: usize,
        work: impl AsyncFn(&Load, &mut Target, Group) -> Sample,
    ) -> [Vec<Sample>; 2] {
        let mut samples = [Vec::new(), Vec::new()];
        for round in 0..count {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                self.both[1 - which].0.hold(true);
                let (target, group) = &mut self.both[which];
                samples[which].push(work(&self.load, target, *group).await);
                self.both[1 - which].0.hold(false);
            }
        }
        samples
    }

    /// Steady lines.
    async fn paced(&mut self, plan: Plan, rate: f64) -> [Vec<Sample>; 2] {
        self.rounds(plan.rounds(), async |load, target, group| {
            target.rate(rate).await;
            tokio::time::sleep(SETTLE).await;
            load.take(group);
            let before = cpu::used(target.pid());
            tokio::time::sleep(plan.window()).await;
            let sample = Sample { cpu: cpu::used(target.pid()).saturating_sub(before), tally: load.take(group) };
            target.rate(0.0).await;
            tokio::time::sleep(SETTLE).await;
            sample
        })
        .await
    }
}

fn of(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(figure).collect())
}

fn whole(samples: &[Sample]) -> bool {
    samples.iter().all(|sample| sample.tally.is_whole())
}

/// How it is lost, when something is.
fn losses(samples: &[Sample]) -> String {
    let sum = |figure: fn(&Tally) -> u64| samples.iter().map(|sample| figure(&sample.tally)).sum::<u64>();
    let lines = sum(|tally| tally.lines);
    format!(
        "{lines} lines, {} lost, {} repeated, {} cut off",
        sum(|tally| tally.lost),
        sum(|tally| tally.repeated),
        sum(|tally| tally.ended)
    )
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn each(deliveries: f64, viewers: usize) -> f64 {
    deliveries / viewers as f64
}

fn cost_row(what: String, [ours, limit]: &[Vec<Sample>; 2], goal: f64) -> Row {
    let (a, b) = (of(ours, Sample::per_frame_ns), of(limit, Sample::per_frame_ns));
    Row::new(what, format!("{:.2} µs", a / 1000.0))
        .beside(format!("{:.2} µs", b / 1000.0))
        .goal(format!("{:.2}x, at most {goal}x", a / b), a / b <= goal)
        .must(whole(ours))
        .note(losses(ours))
}

/// Processor time of a delivered line, at a pace every machine keeps.
pub(crate) async fn paced(plan: Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for viewers in plan.sizes(&[100], &[1_000, 10_000]) {
        let deliveries = plan.size(10_000.0, 50_000.0);
        let samples = Pair::with(viewers).await.paced(plan, each(deliveries, viewers)).await;
        let what = format!("CPU of a delivered frame, {viewers} viewers, {deliveries} lines/s in all");
        rows.push(cost_row(what, &samples, 1.2));
    }
    rows
}

/// The same when the game prints as fast as it can.
pub(crate) async fn flood(plan: Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for viewers in plan.sizes(&[20], &[100, 1_000]) {
        let lines = plan.size(5_000, 10_000_000 / viewers as u64);
        let mut pair = Pair::with(viewers).await;
        let mut last = [0_u64; 2];
        for ((target, group), last) in pair.both.iter_mut().zip(&mut last) {
            target.burst(1).await;
            pair.load.wait_for(*group, 0, DRAIN_MAX).unwrap_or_else(|error| panic!("{error}"));
            *last = 0;
        }
        let samples = pair
            .rounds(plan.rounds(), async |load, target, group| {
                let seen = load.take(group).all_seen.unwrap_or_default();
                let before = cpu::used(target.pid());
                target.burst(lines).await;
                if let Err(error) = load.wait_for(group, seen + lines, DRAIN_MAX) {
                    eprintln!("{error}");
                }
                Sample { cpu: cpu::used(target.pid()).saturating_sub(before), tally: load.take(group) }
            })
            .await;
        let what = format!("CPU of a delivered line in a flood, {viewers} viewers, {lines} lines at once");
        rows.push(cost_row(what, &samples, 1.3));
    }
    rows
}

/// More than a core can send line by line, and how late a line is at half of that.
pub(crate) async fn pressure(plan: Plan) -> Vec<Row> {
    let viewers = plan.size(100, 1_000);
    let mut pair = Pair::with(viewers).await;
    let paced = pair.paced(plan, each(20_000.0, viewers)).await;
    let line_by_line_ns = of(&paced[1], Sample::per_frame_ns);
    let one_core = 1e9 / line_by_line_ns;
    pair.both[1].0.hold(true);
    let (target, group) = &mut pair.both[0];
    let mut samples = Vec::new();
    for _ in 0..plan.rounds() {
        target.rate(each(1.5 * one_core, viewers)).await;
        tokio::time::sleep(SETTLE).await;
        pair.load.take(*group);
        let before = cpu::used(target.pid());
        tokio::time::sleep(plan.window()).await;
        samples.push(Sample { cpu: cpu::used(target.pid()).saturating_sub(before), tally: pair.load.take(*group) });
        target.rate(0.0).await;
        tokio::time::sleep(SETTLE).await;
    }
    pair.both[1].0.hold(false);
    let ours = of(&samples, Sample::per_frame_ns);
    let p99 = of(&samples, |sample| sample.delay_ms(0.99));
    let what = format!(
        "CPU of a delivered line, {viewers} viewers, {:.0} lines/s in all (1.5 cores line by line)",
        1.5 * one_core
    );
    vec![
        Row::new(what, format!("{:.2} µs", ours / 1000.0))
            .beside(format!("{:.2} µs", line_by_line_ns / 1000.0))
            .goal(
                format!("{:.2}x, at most 0.4x; p99 {p99:.0} ms, under 100 ms", ours / line_by_line_ns),
                ours / line_by_line_ns <= 0.4 && p99 < 100.0,
            )
            .must(whole(&samples))
            .note(losses(&samples)),
    ]
}

/// From the game to its viewers.
pub(crate) async fn latency(plan: Plan) -> Vec<Row> {
    let viewers = 100;
    let mut pair = Pair::with(viewers).await;
    let paced = pair.paced(plan, each(20_000.0, viewers)).await;
    let half = 0.5e9 / of(&paced[1], Sample::per_frame_ns);
    let [ours, limit] = pair.paced(plan, each(half, viewers)).await;
    [("p50", 0.5), ("p99", 0.99)]
        .into_iter()
        .map(|(name, quantile)| {
            let (a, b) =
                (of(&ours, |sample| sample.delay_ms(quantile)), of(&limit, |sample| sample.delay_ms(quantile)));
            Row::new(
                format!("from the game to a viewer, {name}, {viewers} viewers, {half:.0} lines/s in all"),
                format!("{a:.2} ms"),
            )
            .beside(format!("{b:.2} ms"))
            .goal(format!("{:.2}x, at most 1.5x", a / b), a / b <= 1.5)
            .must(whole(&ours))
        })
        .collect()
}

/// What a viewer costs who only looks.
pub(crate) async fn memory(plan: Plan) -> Vec<Row> {
    let viewers = plan.at_most(plan.size(500, 10_000));
    let ours = Ours::start(LINE_BYTES).await;
    let load = Load::on(LOAD_CORE);
    // What the first ones bring about belongs to no viewer.
    let first = load.add(ours.viewers(50).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cpu::resident(ours.pid());
    let group = load.add(ours.viewers(viewers).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = cpu::resident(ours.pid());
    let tally = load.look(group);
    load.end(first);
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let each_kib = after.saturating_sub(before) as f64 / viewers as f64 / 1024.0;
    vec![
        Row::new(format!("memory of an idle viewer, of {viewers}"), format!("{each_kib:.1} KiB"))
            .goal("at most 4 KiB", each_kib <= 4.0)
            .must(each_kib <= 2.0 * 4.0 && tally.is_whole())
            .note(format!("resident, {} MiB in all", after >> 20)),
    ]
}

/// Thousands of viewers, a hundred of whom take nothing.
pub(crate) async fn stuck(plan: Plan) -> Vec<Row> {
    let (viewers, dead) = (plan.at_most(plan.size(200, 10_000)), plan.size(20, 100));
    let rate = each(plan.size(10_000.0, 50_000.0), viewers);
    let mut ours = Target::Ours(Box::new(Ours::start(LINE_BYTES).await));
    let load = Load::on(LOAD_CORE);
    let group = load.add(ours.viewers(viewers - dead).await);
    let mut p99 = [Vec::new(), Vec::new()];
    let mut samples = Vec::new();
    ours.rate(rate).await;
    for round in 0..plan.rounds() * 2 {
        let reading = round % 2 == 0;
        let others = ours.viewers(dead).await;
        // Either way they are there; read or not is the difference.
        let (read, _unread) = if reading { (Some(load.add(others)), Vec::new()) } else { (None, others) };
        tokio::time::sleep(SETTLE).await;
        load.take(group);
        tokio::time::sleep(plan.window()).await;
        let sample = Sample { cpu: Duration::ZERO, tally: load.take(group) };
        p99[usize::from(!reading)].push(sample.delay_ms(0.99));
        samples.push(sample);
        if let Some(read) = read {
            load.end(read);
        }
    }
    let [with_all, with_stuck] = p99.map(median);
    vec![
        Row::new(format!("p99 of {viewers} viewers, {dead} of whom take nothing"), format!("{with_stuck:.1} ms"))
            .beside(format!("{with_all:.1} ms when all read"))
            .goal(format!("{:.2}x, under 1.1x", with_stuck / with_all), with_stuck / with_all < 1.1)
            .must(whole(&samples))
            .note(losses(&samples)),
    ]
}
