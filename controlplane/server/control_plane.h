// The control plane put together: stores, rooms, services, server.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "controlplane/server/config.h"

namespace postern::server {

// What `init` makes: keys sealed under the KEK, the CA, and the first administrator.
struct InitOptions {
  // Account id of the administrator.
  std::string admin_id;
  // SubjectPublicKeyInfo PEM, P-256.
  std::string admin_public_key_pem;
};

// Prepares an empty data folder. ALREADY_EXISTS/ALREADY_INITIALISED if it is not empty. Returns the path of ca.pem.
absl::StatusOr<std::string> Initialise(const Config& config, const InitOptions& options, const Clock& clock,
                                       Random& random);

// A running control plane.
class ControlPlane {
 public:
  // Opens the store and serves. FAILED_PRECONDITION/NOT_INITIALISED, DATA_DIR_IN_USE; UNAVAILABLE/LISTEN_FAILED.
  // `clock` and `random` outlive it.
  static absl::StatusOr<std::unique_ptr<ControlPlane>> Start(const Config& config, const Clock& clock, Random& random);
  ~ControlPlane();

  int port() const;
  // 0 if there is no metrics endpoint.
  int metrics_port() const;
  std::string ca_path() const;

  // Takes no new calls, lets those that run end within `grace`, then closes everything in order. Idempotent.
  void Stop(absl::Duration grace);

 private:
  struct Parts;
  explicit ControlPlane(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace postern::server
