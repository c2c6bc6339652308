#include "cli/client.h"

#include <utility>

#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "postern/v1/error.pb.h"

namespace postern::cli {
namespace {

// Puts a fresh bearer token on every RPC: assertions are used once.
class BearerPlugin : public grpc::MetadataCredentialsPlugin {
 public:
  explicit BearerPlugin(Profile profile) : profile_(std::move(profile)) {}

  // An exec credential may take its time: not on gRPC's own threads.
  bool IsBlocking() const override { return true; }

  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    absl::StatusOr<std::string> token = BearerToken(profile_);
    if (!token.ok()) return {grpc::StatusCode::UNAUTHENTICATED, std::string(token.status().message())};
    metadata->emplace("authorization", "Bearer " + *token);
    return grpc::Status::OK;
  }

 private:
  Profile profile_;
};

}  // namespace

absl::Status Client::Connect() {
  if (channel_ != nullptr) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(profile_, LoadProfile(profile_name));
  // Asked for once here, so that a missing credential is reported as that and not as a failed RPC.
  if (profile_.key_file.empty()) {
    POSTERN_RETURN_IF_ERROR(BearerToken(profile_).status());
  } else {
    POSTERN_RETURN_IF_ERROR(ReadFile(profile_.key_file).status());
  }
  grpc::SslCredentialsOptions tls;
  POSTERN_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadFile(profile_.ca_file));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  channel_ = grpc::CreateCustomChannel(
      profile_.controlplane,
      grpc::CompositeChannelCredentials(grpc::SslCredentials(tls),
                                        grpc::MetadataCredentialsFromPlugin(std::make_unique<BearerPlugin>(profile_))),
      arguments);
  return absl::OkStatus();
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  v1::ErrorStatus details;
  v1::ErrorInfo info;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details()) &&
      details.details_size() > 0 && info.ParseFromString(details.details(0).value())) {
    std::map<std::string, std::string> metadata(info.metadata().begin(), info.metadata().end());
    const std::string hint = metadata.contains("hint") ? metadata["hint"] : "";
    metadata.erase("hint");
    return Error(code, info.reason(), status.error_message(), hint, metadata);
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return Error(absl::StatusCode::kUnavailable, "CONTROL_PLANE_UNREACHABLE",
                 fmt::format("the control plane does not answer ({})", status.error_message()),
                 "check the address and the CA file of the profile, and that the control plane runs");
  }
  return Error(code, "RPC_FAILED", status.error_message());
}

}  // namespace postern::cli
