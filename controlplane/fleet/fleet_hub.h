// What the rest of the control plane tells the connected sidecars.
//
// Call after the change is durable in its store, never before: a sidecar that connects in between reads the store, and
// one that is connected is told. Each call only marks or queues and returns; none blocks on a sidecar or fails. What a
// slow or broken sidecar misses it gets from the store when it connects again, so nothing here is the only copy of
// anything. Thread-safe; may be called with the caller's own locks held, since nothing here calls back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "postern/v1/approval.pb.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

class FleetHub {
 public:
  virtual ~FleetHub() = default;

  // The policy in force, the targets (or their mask keys), or the token-signing keys changed: read them again and send
  // them to whom they concern. Several calls that come close together may be sent as one.
  virtual void PushPolicy() = 0;
  virtual void PushTargets() = 0;
  virtual void PushTokenKeys() = 0;

  // A grant was revoked. Goes to every connected sidecar, ahead of policy and targets.
  virtual void PushRevocation(const v1::Revocation& revocation) = 0;

  // A session must end. Goes to every connected sidecar; the one that has it acts.
  virtual void PushKill(std::string_view session_id, std::string_view reason) = 0;

  // An approval changed. Goes to the sidecar that asked for it (Approval.sidecar_id), if it is connected; ignored for
  // approvals that no sidecar asked for.
  virtual void PushApproval(const v1::Approval& approval) = 0;

  // Where clients reach a connected sidecar that serves `target`, for answers to MintToken. A copy; sidecars that did
  // not say where they are reached are left out.
  struct Endpoint {
    std::string sidecar_id;
    std::string host;
    int port = 0;
    std::string client_ca_pem;
  };
  virtual std::vector<Endpoint> EndpointsFor(std::string_view target) const = 0;

  // True while the sidecar's stream is up: a session of a sidecar that is not connected is SESSION_UNKNOWN.
  virtual bool IsConnected(std::string_view sidecar_id) const = 0;
};

}  // namespace postern::fleet
