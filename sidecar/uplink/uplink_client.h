// The uplink over gRPC. This header is what the daemon needs to make one; the rest is behind it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/uplink.h"

namespace postern::sidecar {

struct UploaderOptions {
  int64_t batch_bytes = 1 << 20;
  // So that catching up after an outage leaves the line and the control plane room for what is urgent.
  int64_t bytes_per_second = 8 << 20;
  absl::Duration first_retry = absl::Milliseconds(200);
  absl::Duration longest_retry = absl::Seconds(10);
};

struct UplinkOptions {
  // Holds identity.json, written by Join().
  std::string data_dir;
  // What the sidecar says of itself when it connects.
  std::string version;
  std::string advertise_host;
  int advertise_port = 0;
  std::string client_ca_pem;

  absl::Duration call_deadline = absl::Seconds(10);
  absl::Duration first_retry = absl::Milliseconds(100);
  absl::Duration longest_retry = absl::Seconds(5);
  // A stream on which nothing came for this long is dropped; leases come every 3 to 5 s.
  absl::Duration silence = absl::Seconds(15);
  UploaderOptions upload;
};

// Thread-safe.
class UplinkClient : public Uplink {
 public:
  // Reads the identity (for its id, which is also the spool's writer, see LoadIdentity()). The spool, the clock and the
  // source of randomness are not owned and outlive the client.
  //   Errors of LoadIdentity().
  static absl::StatusOr<std::unique_ptr<UplinkClient>> Create(const UplinkOptions& options, spool::Spool& spool,
                                                              const Clock& clock, Random& random);

  // Begins to connect, and goes on trying until Stop(). Once, after SetListener().
  virtual void Start() = 0;

  // Cancels what runs, calls the callbacks that are owed, ends the threads. Afterwards no listener is called. Not from
  // a callback. Idempotent; the destructor does it too.
  virtual void Stop() = 0;

  virtual const std::string& sidecar_id() const = 0;
};

}  // namespace postern::sidecar
