// Asking for a token, shared by `token request` and `run`.
#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "postern/v1/token.pb.h"

namespace postern::cli {

struct MintOptions {
  std::string target;
  std::string database;
  std::string verbs;
  std::string objects;
  std::string reason;
  std::string ttl;
  std::string on_behalf_of;
  std::string request_id;
  bool wait = false;
};

// Adds --target, --do, --objects, --reason, --ttl, --on-behalf-of, --database.
void AddMintOptions(CLI::App* command, MintOptions& options);

// Asks for a token; with `wait`, waits for the approval that policy may demand and says so on stderr.
//   PERMISSION_DENIED/POLICY_DENIED; PERMISSION_DENIED/APPROVAL_DENIED…; FAILED_PRECONDITION/APPROVAL_PENDING.
absl::StatusOr<v1::MintTokenResponse> Mint(Client& client, const MintOptions& options);

}  // namespace postern::cli
