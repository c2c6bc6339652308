#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/commands/mint.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;

// libpq wants the CA in a file. It is public, so it may stay; its name is its digest, so that runs share it.
absl::StatusOr<std::string> CaFile(const std::string& pem) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path folder = cache != nullptr && *cache != '\0'
                              ? fs::path(cache) / "postern"
                              : fs::path(home != nullptr && *home != '\0' ? home : "/tmp") / ".cache" / "postern";
  std::error_code error;
  fs::create_directories(folder, error);
  const std::string path =
      (folder / fmt::format("ca-{}.pem", crypto::HexEncode(crypto::Sha256(pem)).substr(0, 16))).string();
  if (const auto existing = ReadFile(path); existing.ok() && *existing == pem) return path;
  POSTERN_RETURN_IF_ERROR(WritePrivateFile(path, pem));
  return path;
}

absl::Status SetEnvironment(const v1::MintTokenResponse& minted) {
  const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
  set("PGHOST", minted.sidecar_host());
  set("PGPORT", std::to_string(minted.sidecar_port()));
  set("PGUSER", minted.user());
  set("PGPASSWORD", minted.token());
  set("PGDATABASE", minted.database());
  if (minted.ca_pem().empty()) {
    set("PGSSLMODE", "require");
    unsetenv("PGSSLROOTCERT");
    return absl::OkStatus();
  }
  POSTERN_ASSIGN_OR_RETURN(const std::string ca, CaFile(minted.ca_pem()));
  set("PGSSLMODE", "verify-full");
  set("PGSSLROOTCERT", ca);
  // node-postgres takes its trust from here only.
  if (std::getenv("NODE_EXTRA_CA_CERTS") == nullptr) set("NODE_EXTRA_CA_CERTS", ca);
  return absl::OkStatus();
}

pid_t child_pid = -1;
void ForwardSignal(int signal) {
  if (child_pid > 0) kill(child_pid, signal);
}

// Runs the command and waits. The terminal's own signals reach the child by itself; the others are passed on.
absl::StatusOr<int> RunChild(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return Error(absl::StatusCode::kUnavailable, "FORK_FAILED", "cannot start another process");
  if (pid == 0) {
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv.data());
    std::fprintf(stderr, "postern: cannot run %s\n", argv[0]);
    _exit(errno == ENOENT ? 127 : 126);
  }
  child_pid = pid;
  signal(SIGINT, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  struct sigaction forward {};
  forward.sa_handler = ForwardSignal;
  sigaction(SIGTERM, &forward, nullptr);
  sigaction(SIGHUP, &forward, nullptr);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void RevokeQuietly(Client& client, const std::string& grant_id) {
  auto stub = client.Stub<v1::TokenService>();
  v1::RevokeGrantRequest request;
  request.set_id(grant_id);
  request.set_reason("the command has ended");
  request.set_request_id(NewUuid(Random::System()));
  const auto revoked = Call(*stub, &v1::TokenService::Stub::RevokeGrant, request);
  if (!revoked.ok()) {
    std::fprintf(stderr, "postern: warning: grant %s could not be revoked and ends by itself\n", grant_id.c_str());
  }
}

}  // namespace

void AddRun(CLI::App& app, Env& env) {
  struct RunOptions {
    MintOptions mint;
    bool keep = false;
    std::vector<std::string> command;
  };
  auto options = std::make_shared<RunOptions>();
  options->mint.wait = true;
  CLI::App* run =
      LeafWithStatus(app, env, "run", "Run a command with a token of its own in its environment",
                     "  postern run --target orders --do select --reason \"daily report\" -- psql -c 'select count(*) "
                     "from app.orders'\n"
                     "  postern run --target orders --do all --reason \"on call\" -- psql\n\n"
                     "Sets PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, PGSSLROOTCERT (and "
                     "NODE_EXTRA_CA_CERTS when unset).\n"
                     "The grant is revoked when the command ends; the exit status is the command's.",
                     [&env, options](int* exit_status) -> absl::Status {
                       POSTERN_ASSIGN_OR_RETURN(const v1::MintTokenResponse minted, Mint(env.client, options->mint));
                       if (minted.sidecar_host().empty()) {
                         return Error(absl::StatusCode::kUnavailable, "NO_SIDECAR",
                                      fmt::format("no sidecar serves target {} now", options->mint.target),
                                      "ask the operator to start one: postern sidecar list");
                       }
                       POSTERN_RETURN_IF_ERROR(SetEnvironment(minted));
                       POSTERN_ASSIGN_OR_RETURN(*exit_status, RunChild(options->command));
                       if (!options->keep) RevokeQuietly(env.client, minted.grant().id());
                       return absl::OkStatus();
                     });
  AddMintOptions(run, options->mint);
  run->add_flag("--keep-grant", options->keep, "Leave the grant to its expiry instead of revoking it at the end");
  run->add_option("command", options->command, "The command, after --")->required();
}

}  // namespace postern::cli
