//! Ctrl-C: the first asks the measurement to stop, the second ends the process. The server then sees its input closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Listens from now on; the function it returns says whether a signal came. Where signals cannot be listened to, the
/// first one ends the process.
pub fn listen() -> impl Fn() -> bool {
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let _ = std::thread::Builder::new().name("load-signal".to_owned()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                };
                if asked.swap(true, Ordering::Relaxed) {
                    std::process::exit(128 + number);
                }
            }
        });
    });
    move || seen.load(Ordering::Relaxed)
}
