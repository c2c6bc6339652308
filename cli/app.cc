#include "cli/app.h"

#include <csignal>
#include <cstdio>
#include <iostream>

#include "cli/commands/commands.h"
#include "cli/exit_status.h"
#include "fmt/format.h"

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "0.1.0"
#endif

namespace postern::cli {
namespace {

constexpr const char* kDescription =
    "Short-lived, judged and recorded access to Postgres for AI agents.\n\n"
    "Agents and CI:  postern run --target orders --do select --reason \"look up a refund\" -- psql\n"
    "Approvers:      postern approval watch\n"
    "Policy authors: postern policy test ./policies && postern policy apply ./policies";

// CLI11 prints usage errors over several lines; ours is one line and status 2.
int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
  const CLI::App* deepest = &app;
  for (bool descended = true; descended;) {
    descended = false;
    for (const CLI::App* sub : deepest->get_subcommands()) {
      deepest = sub;
      descended = true;
      break;
    }
  }
  std::string path = deepest->get_name();
  for (const CLI::App* up = deepest->get_parent(); up != nullptr; up = up->get_parent()) {
    path = up->get_name() + " " + path;
  }
  std::string what = error.what();
  for (char& c : what) {
    if (c == '\n') c = ' ';
  }
  std::fprintf(stderr, "postern: %s; see `%s --help`\n", what.c_str(), path.c_str());
  return kUsage;
}

}  // namespace

CLI::App* LeafWithStatus(CLI::App& parent, Env& env, const std::string& name, const std::string& description,
                         const std::string& examples, std::function<absl::Status(int*)> work) {
  CLI::App* leaf = parent.add_subcommand(name, description);
  leaf->footer("Examples:\n" + examples);
  leaf->fallthrough();
  leaf->callback([&env, work = std::move(work)] {
    const absl::Status status = work(&env.exit_status);
    if (!status.ok()) env.exit_status = Fail(status);
  });
  return leaf;
}

CLI::App* Leaf(CLI::App& parent, Env& env, const std::string& name, const std::string& description,
               const std::string& examples, std::function<absl::Status()> work) {
  return LeafWithStatus(parent, env, name, description, examples, [work = std::move(work)](int*) { return work(); });
}

CLI::App* Group(CLI::App& parent, Env& env, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->fallthrough();
  group->callback([group, &env] {
    if (!group->get_subcommands().empty()) return;
    std::cerr << group->help();
    env.exit_status = kUsage;
  });
  return group;
}

int Run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app(kDescription, "postern");
  app.set_version_flag("--version", "postern " POSTERN_VERSION);
  Env env;
  app.add_option("--profile", env.client.profile_name, "Profile of the configuration file (also POSTERN_PROFILE)");
  app.add_option_function<std::string>(
         "-o,--output", [&env](const std::string& format) { env.client.json = format == "json"; },
         "Output: table (default) or json")
      ->check(CLI::IsMember({"table", "json"}));
  app.footer(
      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused by policy, 4 approval denied or expired, "
      "5 control plane unreachable.");
  AddToken(app, env);
  AddRun(app, env);
  AddApproval(app, env);
  AddPolicy(app, env);
  AddSession(app, env);
  AddAudit(app, env);
  AddTarget(app, env);
  AddIdentity(app, env);
  AddSidecar(app, env);
  AddLogin(app, env);
  AddWhoami(app, env);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  if (app.get_subcommands().empty()) {
    std::cerr << app.help();
    return kUsage;
  }
  return env.exit_status;
}

}  // namespace postern::cli
