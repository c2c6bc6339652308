// Brings the spool's records to the control plane, in order, over a stream of its own, and lets the spool forget what
// was committed there. Delivery is at least once: what was sent and not acknowledged is sent again.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/random.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/alarm.h"
#include "sidecar/uplink/backoff.h"
#include "sidecar/uplink/connection.h"
#include "sidecar/uplink/uplink_client.h"

namespace postern::sidecar {

// One thread, between Start() and Stop().
class Uploader {
 public:
  // Nothing is owned; all outlive it.
  Uploader(const UploaderOptions& options, spool::Spool& spool, ConnectionHolder& connections, Random& random,
           AlarmSink alarm);
  ~Uploader();

  void Start();
  // Ends the stream and the thread. What is not acknowledged stays in the spool. Idempotent.
  void Stop();

 private:
  void Run();
  // Until the stream breaks or Stop().
  absl::Status RunStream();
  absl::Status SendBatches(grpc::ClientReaderWriter<v1::UploadAuditRequest, v1::UploadAuditResponse>& stream);
  // The next batch; waits until there is one and the rate allows it. Empty: stopping.
  absl::StatusOr<v1::UploadAuditRequest> NextBatch();
  void Report(const absl::Status& status);

  const UploaderOptions options_;
  spool::Spool& spool_;
  ConnectionHolder& connections_;
  const AlarmSink alarm_;
  Backoff backoff_;             // the thread's
  spool::Position position_;    // the thread's: everything up to here is committed
  absl::Time next_allowed_;     // the thread's: by the rate
  std::string refused_reason_;  // the thread's: what was alarmed last

  absl::Mutex mu_;
  absl::CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool more_ ABSL_GUARDED_BY(mu_) = true;  // the spool may have something new
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::thread thread_;
};

}  // namespace postern::sidecar
