#include "sidecar/app/app.h"

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>

#include <CLI/CLI.hpp>

#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/obs/log.h"
#include "common/obs/metrics.h"
#include "fmt/format.h"
#include "sidecar/app/config.h"
#include "sidecar/app/gauges.h"
#include "sidecar/session/gateway.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/identity_file.h"
#include "sidecar/uplink/join.h"
#include "sidecar/uplink/uplink_client.h"

namespace postern::sidecar_app {
namespace {

constexpr std::string_view kVersion = "0.1.0";
constexpr absl::Duration kGaugeInterval = absl::Seconds(1);

int Fail(const absl::Status& status) {
  const ErrorDetails details = DetailsOf(status);
  fmt::print(stderr, "postern-sidecar: {}{}{}\n", std::string(status.message()), details.hint.empty() ? "" : ". ",
             details.hint);
  return 1;
}

sigset_t OurSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

absl::StatusOr<std::string> ReadClientCa(const Config& config) {
  const std::string& path = config.client_ca_file.empty() ? config.gateway.tls_certificate_file : config.client_ca_file;
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string pem((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || pem.empty()) {
    return Error(absl::StatusCode::kNotFound, "CONFIG_UNREADABLE", fmt::format("cannot read {}", path));
  }
  return pem;
}

// Serves until SIGTERM or SIGINT; SIGHUP reads the certificate again.
void WaitForSignals(const sigset_t& signals, session::Gateway& gateway, Gauges& gauges) {
  const timespec interval = absl::ToTimespec(kGaugeInterval);
  for (;;) {
    const int signal = sigtimedwait(&signals, nullptr, &interval);
    gauges.Update(gateway);
    if (signal == SIGTERM || signal == SIGINT) return;
    if (signal != SIGHUP) continue;
    const absl::Status reloaded = gateway.ReloadCertificate();
    if (reloaded.ok()) {
      obs::LogInfo("certificate for clients read again");
    } else {
      obs::LogStatus(obs::Level::kError, "certificate for clients not replaced", reloaded);
    }
  }
}

absl::Status Run(Config config) {
  obs::SetUpLogging("postern-sidecar", config.log_level);
  // Every thread inherits the mask, so that signals come to this one alone.
  const sigset_t signals = OurSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  const Clock& clock = Clock::System();
  Random& random = Random::System();
  POSTERN_ASSIGN_OR_RETURN(const sidecar::SidecarIdentity identity, sidecar::LoadIdentity(config.data_dir));
  config.gateway.sidecar_id = identity.sidecar_id;

  spool::Options spool_options;
  spool_options.directory = config.data_dir + "/spool";
  spool_options.writer = identity.sidecar_id;
  spool_options.max_bytes = config.spool_max_bytes;
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<spool::Spool> spool,
                           spool::Spool::Open(spool_options, spool::FileSystem::System(), clock, random));

  sidecar::UplinkOptions uplink_options;
  uplink_options.data_dir = config.data_dir;
  uplink_options.version = std::string(kVersion);
  uplink_options.advertise_host = config.advertise_host;
  POSTERN_ASSIGN_OR_RETURN(uplink_options.client_ca_pem, ReadClientCa(config));

  // The port is known once it is bound, and the uplink tells it to the control plane; so the door is built first, on an
  // uplink that is not yet started.
  uplink_options.advertise_port = config.advertise_port != 0 ? config.advertise_port : PortOf(config.gateway.listen);
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<sidecar::UplinkClient> uplink,
                           sidecar::UplinkClient::Create(uplink_options, *spool, clock, random));
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<session::Gateway> gateway,
                           session::Gateway::Create(config.gateway, *uplink, *spool, clock, random));
  obs::Metrics metrics;
  Gauges gauges(metrics, *spool, *uplink);
  std::unique_ptr<obs::MetricsEndpoint> endpoint;
  if (!config.metrics_address.empty()) {
    POSTERN_ASSIGN_OR_RETURN(endpoint, obs::MetricsEndpoint::Start(config.metrics_address, metrics));
  }
  uplink->SetListener(gateway.get());
  uplink->Start();
  gateway->Start();
  obs::LogInfo("sidecar serves", {{"sidecar", identity.sidecar_id}, {"port", std::to_string(gateway->port())}});

  WaitForSignals(signals, *gateway, gauges);
  obs::LogInfo("sidecar drains", {{"sessions", std::to_string(gateway->sessions())}});
  gateway->Drain(config.drain);
  uplink->Stop();
  const absl::Status synced = spool->Sync();
  if (!synced.ok()) obs::LogStatus(obs::Level::kError, "audit spool not synced at the end", synced);
  obs::LogInfo("sidecar stopped");
  return absl::OkStatus();
}

}  // namespace

int Main(int argc, char** argv) {
  // Debian's Abseil looks for deadlocks at every Mutex, under a lock of the whole process; our tests run with it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  CLI::App app{"Stands before a Postgres server: judges, holds, masks and records what agents run.", "postern-sidecar"};
  app.footer(
      "Example:\n  postern-sidecar --config /etc/postern/sidecar.yaml join \"$(cat join-line)\"\n"
      "  postern-sidecar --config /etc/postern/sidecar.yaml run");
  app.set_version_flag("--version", std::string(kVersion));
  std::string config_path;
  std::string line;
  bool check = false;
  bool replace = false;
  app.add_option("--config", config_path, "The YAML configuration")->required();
  app.add_flag("--check-config", check, "Read the configuration, say whether it is right, and stop");
  CLI::App* run = app.add_subcommand("run", "Serve until SIGTERM");
  CLI::App* join = app.add_subcommand("join", "Become a sidecar of the control plane that made the line");
  join->add_option("line", line, "What `postern sidecar invite` printed")->required();
  join->add_flag("--replace", replace, "Replace an identity that is there already");
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  absl::StatusOr<Config> config = LoadConfig(config_path);
  if (!config.ok()) return Fail(config.status());
  if (check) {
    fmt::print("{}: OK\n", config_path);
    return 0;
  }
  if (*join) {
    const absl::Status joined = sidecar::Join(line, config->data_dir, {.replace = replace});
    if (!joined.ok()) return Fail(joined);
    fmt::print("joined; identity in {}\n", config->data_dir);
    return 0;
  }
  if (!*run) {
    fmt::print(stderr, "postern-sidecar: say run or join; --help explains\n");
    return 2;
  }
  const absl::Status ran = Run(*std::move(config));
  return ran.ok() ? 0 : Fail(ran);
}

}  // namespace postern::sidecar_app
