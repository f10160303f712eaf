//! A server in a container, through testcontainers.

use std::process::Stdio;
use std::time::Duration;

use rand::RngExt;
use testcontainers::bollard::Docker;
use testcontainers::core::{ContainerPort, Mount, client::docker_client_instance};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::Runtime;
use tokio_postgres::Config;

use super::keeper::Keeper;
use super::source::{SETTINGS, until_ready};

/// The image that is used, and pulled if need be, when nothing else is said.
const USUAL: &str = "postgres:17-alpine";
/// What `ci/postgres-image.sh` builds.
const BUILT_HERE: &str = "deadheat-postgres:15";
const PORT: u16 = 5432;
/// A daemon that does not answer its own socket by then is as good as none.
const ANSWER: Duration = Duration::from_secs(5);
/// The usual image has about 110 MB.
const PULL: Duration = Duration::from_secs(180);

/// A running container.
#[derive(Debug)]
pub(super) struct Container {
    image: String,
    config: Config,
    // The order of `drop`: the container first, then its keeper, then the runtime that both used.
    container: Option<ContainerAsync<GenericImage>>,
    keeper: Option<Keeper>,
    runtime: Option<Runtime>,
}

impl Container {
    /// Starts a server from `image`, or from the usual ones.
    pub(super) fn start(image: Option<&str>) -> Result<Container, String> {
        let image = image.map(str::to_owned);
        on_a_thread(move || Container::launch(image.as_deref()))
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn image(&self) -> &str {
        &self.image
    }

    fn launch(image: Option<&str>) -> Result<Container, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let password: String = format!("{:032x}", rand::rng().random::<u128>());
        let (image, container) = runtime.block_on(run(image, &password))?;
        // From here on a failure drops `started`, and with it the container.
        let mut started = Container {
            image,
            config: Config::new(),
            keeper: keeper(container.id()),
            container: Some(container),
            runtime: Some(runtime),
        };
        started.config = started.reach(&password)?;
        Ok(started)
    }

    fn reach(&self, password: &str) -> Result<Config, String> {
        let (Some(container), Some(runtime)) = (&self.container, &self.runtime) else {
            return Err("it has been removed".to_owned());
        };
        runtime.block_on(async {
            let host = container.get_host().await.map_err(|error| error.to_string())?;
            let port = container
                .get_host_port_ipv4(PORT)
                .await
                .map_err(|error| error.to_string())?;
            let mut config = Config::new();
            config
                .host(host.to_string())
                .port(port)
                .user("postgres")
                .password(password)
                .dbname("postgres")
                .connect_timeout(ANSWER);
            until_ready(&config, async || match container.is_running().await {
                Ok(true) => Ok(()),
                Ok(false) => Err("the container stopped".to_owned()),
                Err(error) => Err(format!("the container is gone: {error}")),
            })
            .await?;
            Ok(config)
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let (Some(container), Some(runtime)) = (self.container.take(), self.runtime.take()) else {
            return;
        };
        let keeper = self.keeper.take();
        let removed = on_a_thread(move || {
            let removed = runtime.block_on(container.rm());
            removed.map_err(|error| error.to_string())
        });
        // When the daemon would not do it, the keeper has another try as it is dropped.
        if let (Ok(()), Some(keeper)) = (removed, keeper) {
            keeper.dismiss();
        }
    }
}

async fn run(image: Option<&str>, password: &str) -> Result<(String, ContainerAsync<GenericImage>), String> {
    let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
    match tokio::time::timeout(ANSWER, docker.ping()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(format!("the daemon does not answer: {error}")),
        Err(_) => return Err(format!("the daemon did not answer within {} seconds", ANSWER.as_secs())),
    }
    let image = choose(&docker, image).await?;
    let (name, tag) = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image.as_str(), "latest"),
    };
    let command = SETTINGS
        .iter()
        .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    let container = GenericImage::new(name, tag)
        .with_exposed_port(ContainerPort::Tcp(PORT))
        .with_env_var("POSTGRES_PASSWORD", password)
        // In memory: overlay file systems are slow, and nothing is to be kept.
        .with_env_var("PGDATA", "/deadheat/data")
        .with_mount(Mount::tmpfs_mount("/deadheat"))
        .with_cmd(std::iter::once("postgres".to_owned()).chain(command))
        .with_label("deadheat", "server")
        .with_startup_timeout(Duration::from_secs(60))
        .with_host_config_modifier(|host| host.auto_remove = Some(true))
        .start()
        .await
        .map_err(|error| format!("{image}: {error}"))?;
    Ok((image, container))
}

/// The image, which is on this machine when this returns.
async fn choose(docker: &Docker, asked: Option<&str>) -> Result<String, String> {
    let candidates: &[&str] = match &asked {
        Some(image) => &[image],
        None => &[USUAL, BUILT_HERE],
    };
    for candidate in candidates {
        if docker.inspect_image(candidate).await.is_ok() {
            return Ok((*candidate).to_owned());
        }
    }
    let wanted = candidates[0];
    let (name, tag) = wanted.rsplit_once(':').unwrap_or((wanted, "latest"));
    match tokio::time::timeout(PULL, GenericImage::new(name, tag).pull_image()).await {
        Ok(Ok(_)) => Ok(wanted.to_owned()),
        Ok(Err(error)) => Err(format!("{wanted} is not on this machine, and: {error}")),
        Err(_) => Err(format!("pulling {wanted} took more than {} seconds", PULL.as_secs())),
    }
}

/// Removes the container when we are gone. Without a `docker` program there is none; then only a kill leaves one behind.
fn keeper(id: &str) -> Option<Keeper> {
    let present = std::process::Command::new("docker")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match present {
        Ok(status) if status.success() => Keeper::start("docker rm -f -v \"$1\"", [id], |_| ()).ok(),
        _ => None,
    }
}

/// Runtimes may not be nested; a thread of its own never is.
fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match std::thread::spawn(work).join() {
        Ok(result) => result,
        // Not raised again: this also runs in destructors.
        Err(_) => Err("an internal error (see the panic above)".to_owned()),
    }
}
