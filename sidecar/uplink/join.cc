#include "sidecar/uplink/join.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/certificate.h"
#include "common/crypto/ec_key.h"
#include "common/net/join_line.h"
#include "postern/v1/sidecar.grpc.pb.h"
#include "sidecar/uplink/channel.h"
#include "sidecar/uplink/identity_file.h"
#include "sidecar/uplink/pinned_ca.h"
#include "sidecar/uplink/witness.h"

namespace postern::sidecar {

absl::Status Join(std::string_view line, const std::string& data_dir, const JoinOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(net::JoinLine join, net::ParseJoinLine(line));
  absl::StatusOr<SidecarIdentity> existing = LoadIdentity(data_dir);
  if (!options.replace && !absl::IsNotFound(existing.status())) {
    if (!existing.ok()) return existing.status();
    return Error(
        absl::StatusCode::kFailedPrecondition, "ALREADY_JOINED",
        fmt::format("this data directory belongs to sidecar {} of {}", existing->sidecar_id, existing->address),
        "use another data directory, or remove its identity.json first");
  }
  // An older witness of another control plane's log would cry wolf. That the folder can be written shows here too,
  // before the secret is spent.
  POSTERN_RETURN_IF_ERROR(ReplaceFile(data_dir, kCheckpointFile, ""));
  POSTERN_ASSIGN_OR_RETURN(std::string ca_pem, FetchPinnedCa(join.address, join.ca_pin, options.timeout));
  POSTERN_ASSIGN_OR_RETURN(crypto::EcPrivateKey key, crypto::EcPrivateKey::Generate());

  v1::JoinSidecarRequest request;
  request.set_secret(join.secret);
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_csr_der(), crypto::MakeCsr(key, "postern-sidecar"));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options.timeout));
  v1::JoinSidecarResponse response;
  auto stub = v1::SidecarService::NewStub(OpenAnonymousChannel(join.address, ca_pem));
  POSTERN_RETURN_IF_ERROR(FromGrpc(stub->JoinSidecar(&context, request, &response)));

  SidecarIdentity identity;
  identity.address = join.address;
  identity.sidecar_id = response.sidecar_id();
  identity.generation = response.generation();
  identity.key_pem = key.ToPem();
  identity.certificate_chain_pem = response.certificate_chain_pem();
  // The answer came over a connection that this CA proved; another one in it would be a mistake.
  identity.ca_pem = ca_pem;
  return SaveIdentity(identity, data_dir);
}

}  // namespace postern::sidecar
