// What is known and fixed once a session is authenticated.
#pragma once

#include <memory>
#include <string>

#include "common/policy/policy.h"
#include "common/token/token.h"
#include "postern/v1/session.pb.h"
#include "postern/v1/target.pb.h"
#include "sidecar/enforce/enforcer.h"
#include "sidecar/mask/mask.h"

namespace postern::session {

struct SessionInfo {
  std::string id;
  std::string client_address;
  std::string application_name;
  std::string upstream_application_name;  // what the database shows: names the agent and the grant
  std::string client_user;                // as the client named itself; nothing follows from it
  token::Claims claims;
  std::string database;
  std::string role;
  v1::Target target;
  policy::SessionTerms terms;
  sidecar::SessionIdentity identity;
  std::shared_ptr<sidecar::Enforcer> enforcer;
  std::shared_ptr<const mask::Masker> masker;

  // As it is reported to the control plane.
  v1::Session ToProto(absl::Time start) const;
};

}  // namespace postern::session
