//! What holds of a lane, with one worker and one sender and with several.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::bulkhead::Bulkhead;
use super::lane::{Lane, LaneSettings, Received, SendError};
use super::message::Call;
use crate::actors::message::testing::call;
use crate::config::CodelPolicy;

fn settings(depth: usize, cancellations: Arc<AtomicU64>) -> LaneSettings {
    let codel = Some(CodelPolicy { target: Duration::from_secs(600), interval: Duration::from_secs(600) });
    let bulkhead = Arc::new(Bulkhead::new(1000));
    LaneSettings { depth: Arc::new(AtomicUsize::new(depth)), places: depth, workers: 1, codel, bulkhead, cancellations }
}

fn lane_of(depth: usize, cancellations: Arc<AtomicU64>) -> Lane {
    Lane::new(settings(depth, cancellations))
}

fn next(lane: &Lane) -> Option<Call> {
    match lane.recv(Duration::from_secs(60), || {}) {
        Received::Call(call) => Some(call),
        Received::Shed(_) => panic!("nothing waits for so long"),
        Received::Nothing => panic!("waited in vain"),
        Received::Closed => None,
    }
}

#[test]
fn a_full_lane_gives_the_call_back_at_once() {
    let lane = lane_of(2, Arc::default());
    let (calls, _answers): (Vec<_>, Vec<_>) = (0..3).map(|_| call()).unzip();
    let sent: Vec<_> = calls.into_iter().map(|call| lane.try_send(call)).collect();
    assert!(matches!(sent.as_slice(), [Ok(None), Ok(None), Err(SendError::Full(_))]));
    assert_eq!(lane.depth(), 2);
}

#[test]
fn a_lane_takes_as_many_calls_as_it_may_at_the_moment() {
    let depth = Arc::new(AtomicUsize::new(1));
    let lane = Lane::new(LaneSettings { depth: Arc::clone(&depth), places: 3, ..settings(1, Arc::default()) });
    let fits = || lane.try_send(call().0).is_ok();
    assert!(fits() && !fits());
    depth.store(3, Ordering::Relaxed);
    assert!(fits() && fits() && !fits());
    depth.store(1, Ordering::Relaxed);
    drop(next(&lane));
    assert!(!fits(), "two still wait");
    assert_eq!(lane.depth(), 2);
}

#[test]
fn a_cancelled_call_that_waits_does_not_hold_its_place() {
    let cancellations = Arc::<AtomicU64>::default();
    let lane = lane_of(2, Arc::clone(&cancellations));
    let (first, _first_answer) = call();
    let (second, _second_answer) = call();
    let cancel = first.cancel.clone();
    lane.try_send(first).unwrap();
    lane.try_send(second).unwrap();
    cancel.cancel();
    cancellations.fetch_add(1, Ordering::SeqCst);
    assert!(lane.try_send(call().0).is_ok());
    assert_eq!(lane.depth(), 2);
    assert!(!next(&lane).unwrap().is_cancelled());
}

#[test]
fn a_closed_lane_lets_workers_finish_what_is_there() {
    let lane = lane_of(2, Arc::default());
    lane.try_send(call().0).unwrap();
    lane.close();
    assert!(matches!(lane.try_send(call().0), Err(SendError::Closed(_))));
    assert!(next(&lane).is_some());
    assert!(next(&lane).is_none());
}

#[test]
fn calls_are_taken_in_the_order_in_which_they_came_however_full_the_lane() {
    let cancellations = Arc::<AtomicU64>::default();
    let lane = lane_of(50, Arc::clone(&cancellations));
    let taken = std::thread::scope(|scope| {
        let worker = scope
            .spawn(|| std::iter::from_fn(|| next(&lane)).map(|call| call.request.arguments).collect::<Vec<String>>());
        let mut answers = Vec::new();
        for number in 0..2000 {
            let (mut next, answer) = call();
            answers.push(answer);
            next.request.arguments = format!("{number:04}");
            if number % 3 == 0 {
                next.cancel.cancel();
                cancellations.fetch_add(1, Ordering::SeqCst);
            }
            if lane.try_send(next).is_err() {
                std::thread::yield_now();
            }
        }
        lane.close();
        worker.join().unwrap()
    });
    assert!(taken.len() >= 50 && taken.is_sorted(), "{taken:?}");
}

/// A call of `tenant` that says `text`.
fn call_of(tenant: &str, text: &str) -> Call {
    let (mut call, _) = call();
    Arc::make_mut(&mut call.request.frame).tenant_id = tenant.into();
    call.request.arguments = text.to_owned();
    call
}

#[test]
fn a_tenant_that_floods_makes_way_for_another() {
    let lane = lane_of(4, Arc::default());
    for text in ["1", "2", "3", "4"] {
        lane.try_send(call_of("flood", text)).unwrap();
    }
    let evicted = lane.try_send(call_of("other", "a")).unwrap();
    assert_eq!(evicted.unwrap().request.arguments, "4", "the newest of whoever has most");
    assert!(matches!(lane.try_send(call_of("flood", "5")), Err(SendError::Full(_))));
    assert_eq!(lane.depth(), 4);
    let order: Vec<String> = (0..4).map(|_| next(&lane).unwrap().request.arguments).collect();
    assert_eq!(order, ["1", "a", "2", "3"]);
    assert_eq!(lane.depth(), 0);
}

#[test]
fn a_standing_lane_turns_its_tenant_away_and_nobody_else() {
    let codel = Some(CodelPolicy { target: Duration::ZERO, interval: Duration::ZERO });
    let lane = Lane::new(LaneSettings { codel, ..settings(50, Arc::default()) });
    for _ in 0..20 {
        let mut long_ago = call_of("busy", "");
        long_ago.deadline.allowed += Duration::from_secs(60);
        lane.try_send(long_ago).unwrap();
    }
    next(&lane).unwrap();
    assert!(matches!(lane.try_send(call_of("busy", "")), Err(SendError::Standing(_))));
    lane.try_send(call_of("other", "")).unwrap();
    assert_eq!(lane.depth(), 20);
    // No interval is no patience either: those who wait for long are refused in their turn.
    let taken: Vec<bool> =
        (0..20).map(|_| matches!(lane.recv(Duration::from_secs(60), || {}), Received::Call(_))).collect();
    assert_eq!(taken.iter().filter(|good| **good).count(), 1, "the other tenant's: {taken:?}");
    lane.try_send(call_of("busy", "")).expect("it has run empty");
}

#[test]
fn one_tool_leaves_room_for_another() {
    let bulkhead = Arc::new(Bulkhead::new(30));
    let lane = || Lane::new(LaneSettings { bulkhead: Arc::clone(&bulkhead), ..settings(50, Arc::default()) });
    let (busy, other) = (lane(), lane());
    other.try_send(call().0).unwrap();
    let sent = (0..50).filter(|_| busy.try_send(call().0).is_ok()).count();
    assert_eq!(sent, 20);
    busy.drain(drop);
    let sent = (0..50).filter(|_| busy.try_send(call().0).is_ok()).count();
    assert_eq!(sent, 20, "what was drained is free again");
}

#[test]
fn every_call_is_taken_once_by_any_number_of_workers_and_senders() {
    const EACH: usize = 20_000;
    let lane = lane_of(16, Arc::default());
    let taken = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| std::iter::from_fn(|| next(&lane)).count())).collect();
        let senders: Vec<_> = ["a", "b", "c"]
            .map(|tenant| {
                let lane = &lane;
                scope.spawn(move || {
                    (0..EACH)
                        .map(|_| {
                            lane.try_send(call_of(tenant, "")).map_or(0, |evicted| 1 - usize::from(evicted.is_some()))
                        })
                        .sum::<usize>()
                })
            })
            .into_iter()
            .collect();
        // Every call that was sent and not evicted by a later one.
        let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        lane.close();
        let taken: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(taken, sent);
        taken
    });
    assert!(taken > 0 && lane.depth() == 0);
}
