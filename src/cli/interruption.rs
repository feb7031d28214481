//! Ctrl-C and SIGTERM for commands that measure: the first asks for the end, the second ends the process.

use tokio::signal::unix::{SignalKind, signal};

/// Listens from now on, on a thread of its own. Each signal calls `ask`, which says whether the end had been asked for
/// before; then this process ends, and servers it has started see their input closed. Where signals cannot be listened
/// to, the first one ends the process, as usual.
pub fn listen(ask: impl Fn() -> bool + Send + 'static) {
    let listening = move || {
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
                if ask() {
                    std::process::exit(128 + number);
                }
            }
        });
    };
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(listening);
}
