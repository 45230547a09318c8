package wire

// NotifyType is the type of a Notify payload: 0 to 16383 errors, from 16384
// status (3.10.1).
type NotifyType uint16

// IsError reports whether the type is of the error range. An unknown error in
// a response fails its request; all other unknown types are ignored (3.10.1).
func (t NotifyType) IsError() bool { return t < 16384 }

// String returns the IANA name, or the number of an unassigned or private type.
func (t NotifyType) String() string { return nameOf(notifyNames, t) }

// Error types, IANA "IKEv2 Notify Message Error Types".
const (
	NotifyUnsupportedCriticalPayload NotifyType = 1
	NotifyInvalidIKESPI              NotifyType = 4
	NotifyInvalidMajorVersion        NotifyType = 5
	NotifyInvalidSyntax              NotifyType = 7
	NotifyInvalidMessageID           NotifyType = 9
	NotifyInvalidSPI                 NotifyType = 11
	NotifyNoProposalChosen           NotifyType = 14
	NotifyInvalidKEPayload           NotifyType = 17
	NotifyAuthenticationFailed       NotifyType = 24
	NotifySinglePairRequired         NotifyType = 34
	NotifyNoAdditionalSAs            NotifyType = 35
	NotifyInternalAddressFailure     NotifyType = 36
	NotifyFailedCPRequired           NotifyType = 37
	NotifyTSUnacceptable             NotifyType = 38
	NotifyInvalidSelectors           NotifyType = 39
	NotifyUnacceptableAddresses      NotifyType = 40 // RFC 4555
	NotifyUnexpectedNATDetected      NotifyType = 41 // RFC 4555
	NotifyUseAssignedHoA             NotifyType = 42 // RFC 5026
	NotifyTemporaryFailure           NotifyType = 43
	NotifyChildSANotFound            NotifyType = 44
	NotifyInvalidGroupID             NotifyType = 45 // group key management
	NotifyAuthorizationFailed        NotifyType = 46
	NotifyStateNotFound              NotifyType = 47 // RFC 9370
	NotifyTSMaxQueue                 NotifyType = 48 // RFC 9611
	NotifyRegistrationFailed         NotifyType = 49 // group key management
)

// Status types, IANA "IKEv2 Notify Message Status Types".
const (
	NotifyInitialContact                NotifyType = 16384
	NotifySetWindowSize                 NotifyType = 16385
	NotifyAdditionalTSPossible          NotifyType = 16386
	NotifyIPCOMPSupported               NotifyType = 16387
	NotifyNATDetectionSourceIP          NotifyType = 16388
	NotifyNATDetectionDestinationIP     NotifyType = 16389
	NotifyCookie                        NotifyType = 16390
	NotifyUseTransportMode              NotifyType = 16391
	NotifyHTTPCertLookupSupported       NotifyType = 16392
	NotifyRekeySA                       NotifyType = 16393
	NotifyESPTFCPaddingNotSupported     NotifyType = 16394
	NotifyNonFirstFragmentsAlso         NotifyType = 16395
	NotifyMOBIKESupported               NotifyType = 16396 // RFC 4555, to 16402
	NotifyAdditionalIP4Address          NotifyType = 16397
	NotifyAdditionalIP6Address          NotifyType = 16398
	NotifyNoAdditionalAddresses         NotifyType = 16399
	NotifyUpdateSAAddresses             NotifyType = 16400
	NotifyCookie2                       NotifyType = 16401
	NotifyNoNATsAllowed                 NotifyType = 16402
	NotifyAuthLifetime                  NotifyType = 16403 // RFC 4478
	NotifyMultipleAuthSupported         NotifyType = 16404 // RFC 4739
	NotifyAnotherAuthFollows            NotifyType = 16405 // RFC 4739
	NotifyRedirectSupported             NotifyType = 16406 // RFC 5685
	NotifyRedirect                      NotifyType = 16407 // RFC 5685
	NotifyRedirectedFrom                NotifyType = 16408 // RFC 5685
	NotifyTicketLTOpaque                NotifyType = 16409 // RFC 5723, to 16413
	NotifyTicketRequest                 NotifyType = 16410
	NotifyTicketACK                     NotifyType = 16411
	NotifyTicketNACK                    NotifyType = 16412
	NotifyTicketOpaque                  NotifyType = 16413
	NotifyLinkID                        NotifyType = 16414 // RFC 5739
	NotifyUseWESPMode                   NotifyType = 16415 // RFC 5840
	NotifyROHCSupported                 NotifyType = 16416 // RFC 5857
	NotifyEAPOnlyAuthentication         NotifyType = 16417 // RFC 5998
	NotifyChildlessIKEv2Supported       NotifyType = 16418 // RFC 6023
	NotifyQCDToken                      NotifyType = 16419 // RFC 6290
	NotifyMessageIDSyncSupported        NotifyType = 16420 // RFC 6311, to 16423
	NotifyReplayCounterSyncSupported    NotifyType = 16421
	NotifyMessageIDSync                 NotifyType = 16422
	NotifyReplayCounterSync             NotifyType = 16423
	NotifySecurePasswordMethods         NotifyType = 16424 // RFC 6467
	NotifyPSKPersist                    NotifyType = 16425 // RFC 6631
	NotifyPSKConfirm                    NotifyType = 16426 // RFC 6631
	NotifyERXSupported                  NotifyType = 16427 // RFC 6867
	NotifyIFOMCapability                NotifyType = 16428
	NotifyGroupSender                   NotifyType = 16429
	NotifyFragmentationSupported        NotifyType = 16430 // RFC 7383
	NotifySignatureHashAlgorithms       NotifyType = 16431 // RFC 7427
	NotifyCloneIKESASupported           NotifyType = 16432 // RFC 7791
	NotifyCloneIKESA                    NotifyType = 16433 // RFC 7791
	NotifyPuzzle                        NotifyType = 16434 // RFC 8019
	NotifyUsePPK                        NotifyType = 16435 // RFC 8784
	NotifyPPKIdentity                   NotifyType = 16436 // RFC 8784
	NotifyNoPPKAuth                     NotifyType = 16437 // RFC 8784
	NotifyIntermediateExchangeSupported NotifyType = 16438 // RFC 9242
	NotifyIP4Allowed                    NotifyType = 16439 // RFC 8983
	NotifyIP6Allowed                    NotifyType = 16440 // RFC 8983
	NotifyAdditionalKeyExchange         NotifyType = 16441 // RFC 9370
	NotifyUseAGGFRAG                    NotifyType = 16442 // RFC 9347
	NotifySupportedAuthMethods          NotifyType = 16443 // RFC 9593
	NotifySAResourceInfo                NotifyType = 16444 // RFC 9611
	NotifyUsePPKInt                     NotifyType = 16445 // RFC 9867
	NotifyPPKIdentityKey                NotifyType = 16446 // RFC 9867
	NotifyFullTranscriptAuth            NotifyType = 16447
)

var notifyNames = map[NotifyType]string{
	NotifyUnsupportedCriticalPayload: "UNSUPPORTED_CRITICAL_PAYLOAD",
	NotifyInvalidIKESPI:              "INVALID_IKE_SPI",
	NotifyInvalidMajorVersion:        "INVALID_MAJOR_VERSION",
	NotifyInvalidSyntax:              "INVALID_SYNTAX",
	NotifyInvalidMessageID:           "INVALID_MESSAGE_ID",
	NotifyInvalidSPI:                 "INVALID_SPI",
	NotifyNoProposalChosen:           "NO_PROPOSAL_CHOSEN",
	NotifyInvalidKEPayload:           "INVALID_KE_PAYLOAD",
	NotifyAuthenticationFailed:       "AUTHENTICATION_FAILED",
	NotifySinglePairRequired:         "SINGLE_PAIR_REQUIRED",
	NotifyNoAdditionalSAs:            "NO_ADDITIONAL_SAS",
	NotifyInternalAddressFailure:     "INTERNAL_ADDRESS_FAILURE",
	NotifyFailedCPRequired:           "FAILED_CP_REQUIRED",
	NotifyTSUnacceptable:             "TS_UNACCEPTABLE",
	NotifyInvalidSelectors:           "INVALID_SELECTORS",
	NotifyUnacceptableAddresses:      "UNACCEPTABLE_ADDRESSES",
	NotifyUnexpectedNATDetected:      "UNEXPECTED_NAT_DETECTED",
	NotifyUseAssignedHoA:             "USE_ASSIGNED_HoA",
	NotifyTemporaryFailure:           "TEMPORARY_FAILURE",
	NotifyChildSANotFound:            "CHILD_SA_NOT_FOUND",
	NotifyInvalidGroupID:             "INVALID_GROUP_ID",
	NotifyAuthorizationFailed:        "AUTHORIZATION_FAILED",
	NotifyStateNotFound:              "STATE_NOT_FOUND",
	NotifyTSMaxQueue:                 "TS_MAX_QUEUE",
	NotifyRegistrationFailed:         "REGISTRATION_FAILED",

	NotifyInitialContact:                "INITIAL_CONTACT",
	NotifySetWindowSize:                 "SET_WINDOW_SIZE",
	NotifyAdditionalTSPossible:          "ADDITIONAL_TS_POSSIBLE",
	NotifyIPCOMPSupported:               "IPCOMP_SUPPORTED",
	NotifyNATDetectionSourceIP:          "NAT_DETECTION_SOURCE_IP",
	NotifyNATDetectionDestinationIP:     "NAT_DETECTION_DESTINATION_IP",
	NotifyCookie:                        "COOKIE",
	NotifyUseTransportMode:              "USE_TRANSPORT_MODE",
	NotifyHTTPCertLookupSupported:       "HTTP_CERT_LOOKUP_SUPPORTED",
	NotifyRekeySA:                       "REKEY_SA",
	NotifyESPTFCPaddingNotSupported:     "ESP_TFC_PADDING_NOT_SUPPORTED",
	NotifyNonFirstFragmentsAlso:         "NON_FIRST_FRAGMENTS_ALSO",
	NotifyMOBIKESupported:               "MOBIKE_SUPPORTED",
	NotifyAdditionalIP4Address:          "ADDITIONAL_IP4_ADDRESS",
	NotifyAdditionalIP6Address:          "ADDITIONAL_IP6_ADDRESS",
	NotifyNoAdditionalAddresses:         "NO_ADDITIONAL_ADDRESSES",
	NotifyUpdateSAAddresses:             "UPDATE_SA_ADDRESSES",
	NotifyCookie2:                       "COOKIE2",
	NotifyNoNATsAllowed:                 "NO_NATS_ALLOWED",
	NotifyAuthLifetime:                  "AUTH_LIFETIME",
	NotifyMultipleAuthSupported:         "MULTIPLE_AUTH_SUPPORTED",
	NotifyAnotherAuthFollows:            "ANOTHER_AUTH_FOLLOWS",
	NotifyRedirectSupported:             "REDIRECT_SUPPORTED",
	NotifyRedirect:                      "REDIRECT",
	NotifyRedirectedFrom:                "REDIRECTED_FROM",
	NotifyTicketLTOpaque:                "TICKET_LT_OPAQUE",
	NotifyTicketRequest:                 "TICKET_REQUEST",
	NotifyTicketACK:                     "TICKET_ACK",
	NotifyTicketNACK:                    "TICKET_NACK",
	NotifyTicketOpaque:                  "TICKET_OPAQUE",
	NotifyLinkID:                        "LINK_ID",
	NotifyUseWESPMode:                   "USE_WESP_MODE",
	NotifyROHCSupported:                 "ROHC_SUPPORTED",
	NotifyEAPOnlyAuthentication:         "EAP_ONLY_AUTHENTICATION",
	NotifyChildlessIKEv2Supported:       "CHILDLESS_IKEV2_SUPPORTED",
	NotifyQCDToken:                      "QCD_TOKEN", // IANA says QUICK_CRASH_DETECTION, the RFC QCD_TOKEN
	NotifyMessageIDSyncSupported:        "IKEV2_MESSAGE_ID_SYNC_SUPPORTED",
	NotifyReplayCounterSyncSupported:    "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED",
	NotifyMessageIDSync:                 "IKEV2_MESSAGE_ID_SYNC",
	NotifyReplayCounterSync:             "IPSEC_REPLAY_COUNTER_SYNC",
	NotifySecurePasswordMethods:         "SECURE_PASSWORD_METHODS",
	NotifyPSKPersist:                    "PSK_PERSIST",
	NotifyPSKConfirm:                    "PSK_CONFIRM",
	NotifyERXSupported:                  "ERX_SUPPORTED",
	NotifyIFOMCapability:                "IFOM_CAPABILITY",
	NotifyGroupSender:                   "GROUP_SENDER",
	NotifyFragmentationSupported:        "IKEV2_FRAGMENTATION_SUPPORTED",
	NotifySignatureHashAlgorithms:       "SIGNATURE_HASH_ALGORITHMS",
	NotifyCloneIKESASupported:           "CLONE_IKE_SA_SUPPORTED",
	NotifyCloneIKESA:                    "CLONE_IKE_SA",
	NotifyPuzzle:                        "PUZZLE",
	NotifyUsePPK:                        "USE_PPK",
	NotifyPPKIdentity:                   "PPK_IDENTITY",
	NotifyNoPPKAuth:                     "NO_PPK_AUTH",
	NotifyIntermediateExchangeSupported: "INTERMEDIATE_EXCHANGE_SUPPORTED",
	NotifyIP4Allowed:                    "IP4_ALLOWED",
	NotifyIP6Allowed:                    "IP6_ALLOWED",
	NotifyAdditionalKeyExchange:         "ADDITIONAL_KEY_EXCHANGE",
	NotifyUseAGGFRAG:                    "USE_AGGFRAG",
	NotifySupportedAuthMethods:          "SUPPORTED_AUTH_METHODS",
	NotifySAResourceInfo:                "SA_RESOURCE_INFO",
	NotifyUsePPKInt:                     "USE_PPK_INT",
	NotifyPPKIdentityKey:                "PPK_IDENTITY_KEY",
	NotifyFullTranscriptAuth:            "IKE_SA_INIT_FULL_TRANSCRIPT_AUTH",
}
