//! `fs.write` as a command: the same arguments and rules as the warm tool, through std and WASI preview 1, which cannot
//! copy permission bits: a file that exists is overwritten in place, and the answer says so.
#![forbid(unsafe_code)]

mod write;

use fs_command::{Answer, Granted, run};
use fs_path::{Access, Fault, WriteArguments, WriteMode};

fn main() {
    run(|arguments| {
        let (WriteArguments { path, mode, .. }, bytes) = WriteArguments::parse(arguments)?;
        let granted = Granted::new();
        let place = granted.locate(&path, Access::Write)?;
        let target = write::Target { granted: &granted, place, path };
        let report = match mode {
            WriteMode::Create => target.create(&bytes),
            WriteMode::Overwrite => target.overwrite(&bytes),
            WriteMode::Append => target.append(&bytes),
        }?;
        Ok::<_, Fault>(Answer::text(report.sentence(), report.bytes))
    });
}
