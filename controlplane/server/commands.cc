#include "controlplane/server/commands.h"

#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "CLI/CLI.hpp"
#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/obs/log.h"
#include "controlplane/server/config.h"
#include "controlplane/server/control_plane.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

constexpr char kName[] = "postern-controlplane";
// Calls that run when the signal comes have this long to end.
constexpr absl::Duration kGrace = absl::Seconds(5);

constexpr char kFooter[] =
    "Examples:\n"
    "  postern-controlplane --config /etc/postern/controlplane.yaml init --admin-id ana@example.com --admin-key "
    "ana.pub\n"
    "  postern-controlplane --config /etc/postern/controlplane.yaml serve\n";

absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) {
    return Error(absl::StatusCode::kNotFound, "KEY_FILE_MISSING", fmt::format("cannot read {}", path),
                 "`postern identity keygen` makes a key");
  }
  return text.str();
}

absl::Status Init(const std::string& config_path, const std::string& admin_id, const std::string& admin_key_path) {
  POSTERN_ASSIGN_OR_RETURN(const Config config, LoadConfig(config_path));
  InitOptions options{.admin_id = admin_id, .admin_public_key_pem = {}};
  POSTERN_ASSIGN_OR_RETURN(options.admin_public_key_pem, ReadKeyFile(admin_key_path));
  POSTERN_ASSIGN_OR_RETURN(const std::string ca_path, Initialise(config, options, Clock::System(), Random::System()));
  std::printf("%s\n", ca_path.c_str());
  return absl::OkStatus();
}

absl::Status Serve(const std::string& config_path) {
  POSTERN_ASSIGN_OR_RETURN(const Config config, LoadConfig(config_path));
  obs::Level level = obs::Level::kInfo;
  POSTERN_RETURN_IF_ERROR(obs::ParseLevel(config.log_level, &level));
  obs::SetUpLogging(kName, level);

  // Blocked before any thread is made, so that every thread inherits it and only sigwait() sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<ControlPlane> control_plane,
                           ControlPlane::Start(config, Clock::System(), Random::System()));
  obs::LogInfo("serving", {{"origin", config.origin},
                           {"listen", config.listen},
                           {"port", std::to_string(control_plane->port())},
                           {"metrics_port", std::to_string(control_plane->metrics_port())},
                           {"ca", control_plane->ca_path()}});
  int signal = 0;
  sigwait(&signals, &signal);
  obs::LogInfo("stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  control_plane->Stop(kGrace);
  return absl::OkStatus();
}

int ExitStatusOf(const absl::Status& status) {
  if (status.ok()) return 0;
  const ErrorDetails details = DetailsOf(status);
  std::string line = fmt::format("{}: {}", kName, std::string(status.message()));
  if (!details.hint.empty()) line += fmt::format(" ({})", details.hint);
  std::fprintf(stderr, "%s\n", line.c_str());
  return 1;
}

}  // namespace

int RunControlPlane(int argc, char** argv) {
  CLI::App app("Postern's control plane: who may do what on which database, for how long, and who approved it", kName);
  app.footer(kFooter);
  app.set_version_flag("--version", fmt::format("{} {}", kName, POSTERN_VERSION));
  app.require_subcommand(1);
  std::string config_path;
  app.add_option("--config", config_path, "Configuration file (YAML)")->required();

  CLI::App* serve = app.add_subcommand("serve", "Serves until SIGTERM");
  CLI::App* init = app.add_subcommand("init", "Prepares a data folder: keys, CA and the first administrator");
  std::string admin_id;
  std::string admin_key_path;
  init->add_option("--admin-id", admin_id, "Account id of the first administrator")->required();
  init->add_option("--admin-key", admin_key_path, "File with the administrator's public key (PEM, P-256)")->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (init->parsed()) return ExitStatusOf(Init(config_path, admin_id, admin_key_path));
  if (serve->parsed()) return ExitStatusOf(Serve(config_path));
  return 2;
}

}  // namespace postern::server
