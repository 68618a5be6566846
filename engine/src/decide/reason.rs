//! Why the answer is what it is.

/// Why the answer is what it is: `Allowed`, or the step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Every step passed.
    Allowed,
    /// Step 1.
    PrincipalInactive,
    /// Step 2.
    ResourceNotFound,
    /// Step 3.
    OutsideTenant,
    /// Step 4.
    ResourceDeleted,
    /// Step 5.
    ExplicitDeny,
    /// Step 6.
    NoGrant,
    /// Step 7.
    Confidentiality,
    /// Step 8.
    ConditionFailed,
    /// Step 9.
    MfaRequired,
}

impl Reason {
    /// The reason code: part of the SQL surface and of the audit trail.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Allowed => "allowed",
            Reason::PrincipalInactive => "principal_inactive",
            Reason::ResourceNotFound => "resource_not_found",
            Reason::OutsideTenant => "outside_tenant",
            Reason::ResourceDeleted => "resource_deleted",
            Reason::ExplicitDeny => "explicit_deny",
            Reason::NoGrant => "no_grant",
            Reason::Confidentiality => "confidentiality",
            Reason::ConditionFailed => "condition_failed",
            Reason::MfaRequired => "mfa_required",
        }
    }
}
