// Each function adds one command (and its subcommands) to the tree. A command's callback does its work and leaves its
// exit status in `exit_status`.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/status/status.h"
#include "cli/client.h"

namespace postern::cli {

struct Env {
  Client client;
  int exit_status = 0;
};

void AddApproval(CLI::App& app, Env& env);
// Commands of the group `approval` with a file of their own: break-glass, review, delegation, template, webhook.
void AddApprovalCare(CLI::App& group, Env& env);
void AddAudit(CLI::App& app, Env& env);
void AddIdentity(CLI::App& app, Env& env);
void AddLogin(CLI::App& app, Env& env);
void AddPolicy(CLI::App& app, Env& env);
// Commands of the group `policy` with files of their own.
void AddSuggest(CLI::App& group, Env& env);
void AddWhoCan(CLI::App& group, Env& env);
void AddRun(CLI::App& app, Env& env);
void AddSession(CLI::App& app, Env& env);
void AddSidecar(CLI::App& app, Env& env);
void AddTarget(CLI::App& app, Env& env);
void AddToken(CLI::App& app, Env& env);
void AddWhoami(CLI::App& app, Env& env);

// A leaf command: description, examples shown under --help, and work that returns a status.
CLI::App* Leaf(CLI::App& parent, Env& env, const std::string& name, const std::string& description,
               const std::string& examples, std::function<absl::Status()> work);

// A leaf whose work returns the exit status itself, or a failure.
CLI::App* LeafWithStatus(CLI::App& parent, Env& env, const std::string& name, const std::string& description,
                         const std::string& examples, std::function<absl::Status(int* exit_status)> work);

// A command that only groups others: without one of them it prints its help and ends with status 2.
CLI::App* Group(CLI::App& parent, Env& env, const std::string& name, const std::string& description);

}  // namespace postern::cli
