//! Runs one program as a job of one host would: `run PROGRAM.wasm INPUT_DIR OUT_DIR TASKS [ARGS]`.
//!
//! Every file below the input folder becomes an input; `/out` of task N is left below `OUT_DIR/N`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isos_base::job::{JobSpec, Mount};
use isos_base::{Bytes, Fuel, Guid, JobId, Span};
use isos_sandbox::{Event, Order, Part, Sandbox, SandboxConfig, Setup};

const CHILD: &str = "sandbox-child";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == CHILD).is_some() {
        return Ok(isos_sandbox::child_main(args));
    }
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let [wasm, inputs, outputs, tasks, args @ ..] = args.as_slice() else {
        return Err("run PROGRAM.wasm INPUT_DIR OUT_DIR TASKS [ARGS]".into());
    };
    let wasm = PathBuf::from(wasm);
    let mut spec = JobSpec::new(Guid::of(&std::fs::read(&wasm)?), Bytes(1), tasks.parse()?);
    spec.args = args.to_vec();
    spec.memory = Bytes::gib(2);
    spec.fuel = Fuel(1_000_000_000_000);
    mounts(Path::new(inputs), "", &mut spec.inputs)?;
    let setup = Setup {
        job: JobId(1),
        spec,
        input_dir: inputs.into(),
        own_dir: None,
        threads: 2,
        idle: false,
        save_every: Span::secs(60),
    };
    let folder = tempfile::TempDir::new()?;
    let config = SandboxConfig::new(
        std::env::current_exe()?,
        vec![CHILD.into()],
        folder.path().join("code"),
    );
    tokio::runtime::Runtime::new()?.block_on(run(config, &wasm, setup, Path::new(outputs)))?;
    Ok(ExitCode::SUCCESS)
}

fn mounts(folder: &Path, above: &str, list: &mut Vec<Mount>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            mounts(&entry.path(), &format!("{path}/"), list)?;
        } else {
            let size = Bytes(entry.metadata()?.len());
            list.push(Mount { path, guid: Guid::of(b""), size });
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example that prints what came out")]
async fn run(config: SandboxConfig, wasm: &Path, setup: Setup, outputs: &Path) -> Result<()> {
    let sandbox = Sandbox::new(config)?;
    let mut left = setup.spec.count;
    let prepared = sandbox.prepare(setup.spec.program, wasm).await?;
    let orders = (0..left).map(|task| Order { task, file: None, part: Part::default() }).collect();
    let (chamber, mut events) = sandbox.open(&prepared, setup).await?;
    chamber.send(orders).await?;
    while left > 0 {
        let batch = match events.next().await {
            Some(Event::Finished(batch)) => batch,
            Some(Event::Saved(_)) => continue,
            other => return Err(format!("{other:?}").into()),
        };
        for done in batch {
            left -= 1;
            println!(
                "task {}: {:?}, fuel {}, {}, output {}\n{}{}",
                done.task,
                done.end,
                done.fuel.0,
                done.wall,
                Guid::of(&done.output.encode()).short(),
                String::from_utf8_lossy(&done.output.stdout),
                String::from_utf8_lossy(&done.output.stderr)
            );
            for file in &done.output.files {
                let path = outputs.join(done.task.to_string()).join(&file.path);
                std::fs::create_dir_all(path.parent().unwrap_or(outputs))?;
                std::fs::write(path, &file.content)?;
            }
        }
    }
    Ok(())
}
