//! The process's standard input and output, whatever they are.
//!
//! Clients connect them to pipes, sockets (Node), files or terminals. Pipes and sockets are driven by the event loop:
//! on Linux a pipe is reopened, so that switching it to non-blocking does not leak to others who share it. Everything
//! else gets one blocking thread each way.
//!
//! Invariant: one thing owns standard output. [`Stdio::take`] moves it to a descriptor of its own and points
//! descriptor 1 at standard error, so that no stray print can break the protocol.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use rustix::fs::FileType;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, mpsc};

use super::outbox::Batch;

/// Bytes read or written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Both directions.
pub struct Stdio {
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub output: Output,
}

/// Where lines come from.
pub enum Input {
    /// A pipe.
    Pipe(pipe::Receiver),
    /// A socket.
    Socket(UnixStream),
    /// Anything else, read by a thread.
    Thread(mpsc::Receiver<io::Result<Vec<u8>>>),
}

/// Where lines go.
pub enum Output {
    /// A pipe.
    Pipe(pipe::Sender),
    /// A socket.
    Socket(UnixStream),
    /// Anything else, written by a thread.
    Thread(Mutex<WritingThread>),
}

/// Bytes go one way, results come back the other.
pub struct WritingThread {
    bytes: mpsc::Sender<Vec<u8>>,
    done: mpsc::Receiver<io::Result<Vec<u8>>>,
}

impl WritingThread {
    /// Writes all of `bytes` and gives the buffer back.
    async fn write(&mut self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.bytes.send(bytes).await.map_err(|_| gone())?;
        self.done.recv().await.ok_or_else(gone)?
    }
}

impl Stdio {
    /// Takes the process's standard input and output. Must be called on a tokio runtime, before anything is printed.
    ///
    /// # Errors
    /// When a descriptor is closed or the system is out of descriptors or threads.
    pub fn take() -> io::Result<Self> {
        let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { input: Input::from_fd(input)?, output: Output::from_fd(output)? })
    }
}

fn kind(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// The path by which an open descriptor can be opened again, as a description of its own.
#[cfg(target_os = "linux")]
fn own_path(fd: &OwnedFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Input {
    /// Wraps a descriptor by what it is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match kind(&fd)? {
            FileType::Socket => socket(fd).map(Self::Socket),
            #[cfg(target_os = "linux")]
            FileType::Fifo => match pipe::OpenOptions::new().open_receiver(own_path(&fd)) {
                Ok(receiver) => Ok(Self::Pipe(receiver)),
                // A pipe of another user cannot be reopened, but can be read.
                Err(_) => Self::thread(fd),
            },
            _ => Self::thread(fd),
        }
    }

    /// Appends what comes next to `buffer`; 0 at the end of input. Cancel-safe.
    ///
    /// # Errors
    /// What the system reports.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(CHUNK_BYTES);
        match self {
            Self::Pipe(pipe) => pipe.read_buf(buffer).await,
            Self::Socket(socket) => socket.read_buf(buffer).await,
            Self::Thread(chunks) => match chunks.recv().await {
                None => Ok(0),
                Some(chunk) => {
                    let chunk = chunk?;
                    buffer.extend_from_slice(&chunk);
                    Ok(chunk.len())
                }
            },
        }
    }

    fn thread(fd: OwnedFd) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(1);
        let mut file = File::from(fd);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match file.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(length) => {
                        chunk.truncate(length);
                        Ok(chunk)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self::Thread(receiver))
    }
}

impl Output {
    /// Wraps a descriptor by what it is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match kind(&fd)? {
            FileType::Socket => socket(fd).map(Self::Socket),
            #[cfg(target_os = "linux")]
            FileType::Fifo => match pipe::OpenOptions::new().open_sender(own_path(&fd)) {
                Ok(sender) => Ok(Self::Pipe(sender)),
                Err(_) => Self::thread(fd),
            },
            _ => Self::thread(fd),
        }
    }

    /// Writes what is left of `batch`.
    ///
    /// # Errors
    /// What the system reports; the other side may be gone.
    pub async fn write(&self, batch: &mut Batch) -> io::Result<()> {
        while !batch.rest().is_empty() {
            match self {
                Self::Pipe(pipe) => pipe.writable().await?,
                Self::Socket(socket) => socket.writable().await?,
                Self::Thread(thread) => {
                    let bytes = std::mem::take(&mut batch.bytes);
                    batch.bytes = thread.lock().await.write(bytes).await?;
                    batch.written = batch.bytes.len();
                    continue;
                }
            }
            match self.try_write(batch.rest()) {
                Ok(written) => batch.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes as much as the other side takes at once, from any thread.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing just now; else what the system reports.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_write(bytes),
            Self::Socket(socket) => socket.try_write(bytes),
            Self::Thread(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn thread(fd: OwnedFd) -> io::Result<Self> {
        let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(1);
        let (done, receiver) = mpsc::channel(1);
        let mut file = File::from(fd);
        std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            while let Some(bytes) = chunks.blocking_recv() {
                let written = file.write_all(&bytes).and_then(|()| file.flush()).map(|()| bytes);
                if done.blocking_send(written).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread(Mutex::new(WritingThread { bytes: sender, done: receiver })))
    }
}
