//! The replacement of a call of `authz_row` or `authz_can`.

use super::node::{
    and_or, call, column_below, copy, default_family, function, is_a, length, new_node, nth, null_node, null_test,
    once, same, text_node,
};
use super::row::{Row, is_not_null};
use super::{OF_PRINCIPAL, ROW_ARGUMENTS, Registered, WITHIN};
use crate::decision::As;
use crate::pg::relation::Relation;
use crate::pg::{authority, constraint, session_setting, user_table};
use crate::places::Outlook;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ptr::null_mut;

/// What a call that can be simplified looks like.
pub struct Call {
    pub(super) raw: *mut pg_sys::SupportRequestSimplify,
    /// The permission, a constant.
    pub permission: String,
    /// As whom it decides.
    pub who: As,
    /// Which argument is the key.
    pub(super) key: usize,
}

/// The key among them, and the tenant.
const KEY: usize = 1;

const TENANT: usize = 2;

impl Call {
    /// The table whose key is an argument of the call: its OID and the attribute number of that key.
    pub fn key(&self) -> Option<(pg_sys::Oid, i16)> {
        // SAFETY: the call has at least two arguments; the range table entry of a column of the query exists.
        unsafe {
            let var = column_below(nth((*(*self.raw).fcall).args, self.key))?;
            let parse = (*(*self.raw).root).parse;
            let varno = (*var).varno as usize;
            if varno == 0 || varno > length((*parse).rtable) {
                return None;
            }
            let entry = nth((*parse).rtable, varno - 1).cast::<pg_sys::RangeTblEntry>();
            ((*entry).rtekind == pg_sys::RTEKind::RTE_RELATION).then_some(((*entry).relid, (*var).varattno))
        }
    }

    /// Is it a call of `authz_row`, with a row's columns, rather than of `authz_can`?
    pub fn is_row(&self) -> bool {
        // SAFETY: a valid call.
        unsafe { length((*(*self.raw).fcall).args) == ROW_ARGUMENTS }
    }

    /// The expression that answers the same for a row of a registered table; `None` where that cannot be said.
    pub fn replace(&self, registered: &Registered, outlook: Outlook) -> Option<*mut pg_sys::Node> {
        // SAFETY: all nodes are made of this call's own, or freshly.
        unsafe {
            let arguments = (*(*self.raw).fcall).args;
            let key_var = column_below(nth(arguments, self.key))?;
            let row = Row {
                key_var,
                relation: Relation::open(registered.target)?,
            };
            let names = &registered.columns;
            if !self.is_about(&row, names) {
                return None;
            }
            let permission = text_node(&self.permission);
            let parse = (*(*self.raw).root).parse;
            // After waiting for a row lock the row is decided again, by the newest authority and as it is then: what was
            // computed once for the query, or is looked up by its snapshot, must not take part in that.
            let only_reads = (*parse).commandType == pg_sys::CmdType::CMD_SELECT && (*parse).rowMarks.is_null();
            let exact = self.exact(&row, names, permission, only_reads)?;
            let is_insert = (*parse).commandType == pg_sys::CmdType::CMD_INSERT;
            if is_insert && (*parse).resultRelation == (*key_var).varno {
                // A new row is looked for nowhere.
                return Some(exact);
            }

            let (tenant, _) = row.column(&names.tenant)?;
            let arms = || arms(&row, names, permission, self.who);
            let narrowed = self.narrowed(&row, tenant, arms, exact, outlook)?;
            match outlook.all {
                // Who sees everything does not see rows of a tenant that does not exist, nor rows of no known level.
                true if only_reads && self.is_whole(&row, registered) => {
                    let all = function(c"sees_all", &[pg_sys::TEXTOID, pg_sys::BOOLOID])?;
                    let still = function(c"still", &[pg_sys::INT8OID, pg_sys::OIDOID])?;
                    let seen = once(call(all, pg_sys::INT8OID, &[permission, self.by_principal()]));
                    (*parse).hasSubLinks = true;
                    // Outside of policies, an outer join has rows that are none of the table's.
                    let still = call(still, pg_sys::BOOLOID, &[seen, row.table()]);
                    if let Some(name) = &names.confidentiality
                        && !row.level_is_certain(name)
                    {
                        let known = row.has_known_level(name)?;
                        let everything = and_or(pg_sys::BoolExprType::AND_EXPR, &[still, known]);
                        return Some(and_or(pg_sys::BoolExprType::OR_EXPR, &[everything, narrowed]));
                    }
                    // What takes a row apart is done for every row, also where it is not asked for: so there is no column
                    // here, and whoever else runs this plan has rows decided as they are.
                    let whole = function(c"row_whole", &[pg_sys::TEXTOID, pg_sys::RECORDOID, pg_sys::BOOLOID])?;
                    let other = call(whole, pg_sys::BOOLOID, &[permission, row.whole()?, self.by_principal()]);
                    Some(and_or(pg_sys::BoolExprType::OR_EXPR, &[still, other]))
                }
                _ => Some(narrowed),
            }
        }
    }

    /// The same for a call of `authz_row` on rows of another table, which carries the columns that say where its rows
    /// belong; `None` where that is not plain to see. Conditions see no more of such rows than without a plan.
    pub fn narrow(&self, outlook: Outlook) -> Option<*mut pg_sys::Node> {
        if !self.is_row() {
            return None;
        }
        let (table, _) = self.key()?;
        // SAFETY: all nodes are made of this call's own, or freshly; the call has the arguments of `authz_row`.
        unsafe {
            let given: Vec<_> = (0..ROW_ARGUMENTS).map(|n| nth((*(*self.raw).fcall).args, n)).collect();
            let key = column_below(given[KEY])?;
            let row = Row {
                key_var: key,
                relation: Relation::open(table)?,
            };
            let parse = (*(*self.raw).root).parse;
            let tenant = column_below(given[TENANT]).filter(|t| (**t).varno == (*key).varno)?;
            if (*parse).commandType == pg_sys::CmdType::CMD_INSERT && (*parse).resultRelation == (*key).varno
                || (*tenant).vartype != pg_sys::UUIDOID
                || !is_not_null(&row.relation, (*tenant).varattno)
            {
                return None;
            }
            let via = |place: &str, argument: *mut pg_sys::Node| {
                let of = pg_sys::exprType(argument);
                let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, of])?;
                Some(call(
                    via,
                    pg_sys::BOOLOID,
                    &[text_node(&self.permission), text_node(place), copy(argument)],
                ))
            };
            let is_null = |node| is_a(node, pg_sys::NodeTag::T_Const) && (*node.cast::<pg_sys::Const>()).constisnull;
            let arms = || {
                let mut arms = vec![via("key", key.cast()).or_else(|| via("key", given[KEY]))?];
                for (n, place) in [
                    (TENANT, "tenant"),
                    (3, "organization"),
                    (4, "team"),
                    (5, "project"),
                    (6, "owner"),
                ] {
                    if !is_null(given[n]) {
                        arms.push(via(place, given[n])?);
                    }
                }
                Some(arms)
            };
            let types = given.iter().map(|a| pg_sys::exprType(*a));
            let types: Vec<_> = types.chain([pg_sys::BOOLOID, pg_sys::BOOLOID]).collect();
            let no = || pg_sys::makeBoolConst(false, false);
            let columns = given.iter().map(|a| copy(*a));
            let arguments: Vec<_> = columns.chain([no(), self.by_principal()]).collect();
            let exact = call(function(c"row_exact", &types)?, pg_sys::BOOLOID, &arguments);
            let either = new_node::<pg_sys::CoalesceExpr>(pg_sys::NodeTag::T_CoalesceExpr);
            (*either).coalescetype = pg_sys::BOOLOID;
            (*either).args = pg_sys::lappend(pg_sys::lappend(null_mut(), exact.cast()), no().cast());
            (*either).location = -1;
            self.narrowed(&row, tenant, arms, either.cast(), outlook)
        }
    }

    /// `exact`, and before it where rows can be, as far as that is of use to the session that plans.
    ///
    /// One that names a tenant has its rows looked for in that one: by equality, which plans can do more with than with a
    /// list. Other sessions' rows would not be found by such a plan, so that it is made anew for them
    /// (`session_setting::plan_names_tenant`).
    unsafe fn narrowed(
        &self,
        row: &Row,
        tenant: *mut pg_sys::Var,
        arms: impl FnOnce() -> Option<Vec<*mut pg_sys::Node>>,
        exact: *mut pg_sys::Node,
        outlook: Outlook,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: as in `replace`.
        unsafe {
            let mut all = Vec::new();
            if outlook.one_tenant {
                all.push(in_named_tenant(tenant)?);
                session_setting::plan_names_tenant();
            } else if !outlook.anywhere && is_not_null(&row.relation, (*tenant).varattno) {
                all.push(within(tenant, text_node(&self.permission), self.who)?);
            }
            if !outlook.anywhere {
                all.push(and_or(pg_sys::BoolExprType::OR_EXPR, &arms()?));
            }
            all.push(exact);
            Some(and_or(pg_sys::BoolExprType::AND_EXPR, &all))
        }
    }

    /// Does the call, where it names the principal, name the row's own tenant or none, and no context?
    unsafe fn is_about(&self, row: &Row, names: &user_table::ColumnNames) -> bool {
        // SAFETY: a valid call.
        unsafe {
            let arguments = (*(*self.raw).fcall).args;
            if self.who == As::Session {
                return true;
            }
            let is_null = |node| is_a(node, pg_sys::NodeTag::T_Const) && (*node.cast::<pg_sys::Const>()).constisnull;
            let (tenant, context) = (nth(arguments, 3), nth(arguments, 4));
            let own_tenant = || {
                row.column(&names.tenant)
                    .is_some_and(|(own, _)| same(tenant, own.cast()))
            };
            is_null(context) && (is_null(tenant) || own_tenant())
        }
    }

    /// Do constraints promise that every row's tenant is there, and its parent in the same tenant, with a level that is known,
    /// and so on upwards? Plans that rely on it are made anew when one of those tables changes.
    unsafe fn is_whole(&self, row: &Row, registered: &Registered) -> bool {
        // SAFETY: tables are opened before they are looked at; the planner's list of tables may be appended to.
        unsafe {
            let tenant = Relation::open(authority::oid("tenant"));
            if !tenant.is_some_and(|t| {
                constraint::references(&row.relation, &[&registered.columns.tenant], &t, &["tenant_id"])
            }) {
                return false;
            }
            let mut child = Relation::open(registered.target);
            let mut names = &registered.columns;
            for (target, above) in &registered.above {
                let (Some(relation), Some(parent), Some(column)) = (child, Relation::open(*target), &names.parent)
                else {
                    return false;
                };
                let columns = [names.tenant.as_str(), column];
                if !constraint::references(&relation, &columns, &parent, &[&above.tenant, &above.key])
                    || !constraint::hold_below(&parent)
                {
                    return false;
                }
                let of = Row::first(parent, &above.key);
                if !of
                    .as_ref()
                    .is_some_and(|of| above.confidentiality.as_ref().is_none_or(|c| of.level_is_certain(c)))
                {
                    return false;
                }
                let planned = (*(*self.raw).root).glob;
                (*planned).relationOids = pg_sys::lappend_oid((*planned).relationOids, *target);
                child = of.map(|of| of.relation);
                names = above;
            }
            // A parent that is no row of a registered table.
            names.parent.is_none()
        }
    }

    fn by_principal(&self) -> *mut pg_sys::Node {
        // SAFETY: makes a constant.
        unsafe { pg_sys::makeBoolConst(self.who == As::Principal, false) }
    }

    /// `authz.row_exact(permission, key, tenant, …)`; where the row may not be stored as it is, with what decides where
    /// that has no answer.
    unsafe fn exact(
        &self,
        row: &Row,
        names: &user_table::ColumnNames,
        permission: *mut pg_sys::Node,
        stored: bool,
    ) -> Option<*mut pg_sys::Node> {
        // SAFETY: as in `replace`.
        unsafe {
            let (_, key_oid) = row.column(&names.key)?;
            let key_type = match key_oid {
                pg_sys::UUIDOID => pg_sys::UUIDOID,
                pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => pg_sys::INT8OID,
                _ => pg_sys::TEXTOID,
            };
            let id = |name: &Option<String>| match name {
                Some(name) => row.as_type(name, pg_sys::UUIDOID),
                None => Some(null_node(pg_sys::UUIDOID)),
            };
            let text = |name: &Option<String>| match name {
                Some(name) => row.as_type(name, pg_sys::TEXTOID),
                None => Some(null_node(pg_sys::TEXTOID)),
            };
            let deleted = match &names.deleted_at {
                Some(name) => row.says_deleted(name)?,
                None => pg_sys::makeBoolConst(false, false),
            };
            let columns: [_; ROW_ARGUMENTS] = [
                permission,
                row.as_type(&names.key, key_type)?,
                row.as_type(&names.tenant, pg_sys::UUIDOID)?,
                id(&names.organization)?,
                id(&names.team)?,
                id(&names.project)?,
                id(&names.owner)?,
                text(&names.confidentiality)?,
                deleted,
                text(&names.parent)?,
            ];
            let given = (*(*self.raw).fcall).args;
            if self.is_row() && (0..ROW_ARGUMENTS).any(|n| !same(nth(given, n), columns[n])) {
                return None;
            }
            let (u, t, b) = (pg_sys::UUIDOID, pg_sys::TEXTOID, pg_sys::BOOLOID);
            let column_types = [t, key_type, u, u, u, u, u, t, b, t];
            let with = |name: &CStr, eleventh: *mut pg_sys::Node, of: pg_sys::Oid| {
                let types: Vec<_> = column_types.iter().copied().chain([of, b]).collect();
                let own = columns.iter().map(|c| copy(*c));
                let arguments: Vec<_> = own.chain([eleventh, self.by_principal()]).collect();
                Some(call(function(name, &types)?, b, &arguments))
            };
            let exact = with(c"row_exact", pg_sys::makeBoolConst(stored, false), b)?;
            if stored {
                return Some(exact);
            }
            let condition = with(c"row_condition", row.whole()?, pg_sys::RECORDOID)?;
            let either = new_node::<pg_sys::CoalesceExpr>(pg_sys::NodeTag::T_CoalesceExpr);
            (*either).coalescetype = b;
            (*either).args = pg_sys::lappend(pg_sys::lappend(null_mut(), exact.cast()), condition.cast());
            (*either).location = -1;
            Some(either.cast())
        }
    }
}

/// The name of a column's place.
fn place_node(place: &str, who: As) -> *mut pg_sys::Node {
    match who {
        As::Session => text_node(place),
        As::Principal => text_node(&format!("{OF_PRINCIPAL}{place}")),
    }
}

/// `via within`: the row's tenant is one in which something can be reached. Indexes that begin with the tenant are of use
/// to every arm by it. Not where rows without a tenant would have to be found as well.
unsafe fn within(tenant: *mut pg_sys::Var, permission: *mut pg_sys::Node, who: As) -> Option<*mut pg_sys::Node> {
    // SAFETY: as in `replace`.
    unsafe {
        let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::UUIDOID])?;
        let place = place_node(WITHIN, who);
        Some(call(via, pg_sys::BOOLOID, &[permission, place, copy(tenant).cast()]))
    }
}

/// `tenant = authz.named_tenant()`
pub unsafe fn in_named_tenant(tenant: *mut pg_sys::Var) -> Option<*mut pg_sys::Node> {
    // SAFETY: the operator and the function are looked up before they are used; both sides are of type uuid.
    unsafe {
        let equal = pg_sys::BTEqualStrategyNumber as i16;
        let family = default_family(pg_sys::UUIDOID)?;
        let operator = pg_sys::get_opfamily_member(family, pg_sys::UUIDOID, pg_sys::UUIDOID, equal);
        let named = call(function(c"named_tenant", &[])?, pg_sys::UUIDOID, &[]);
        let none = pg_sys::InvalidOid;
        if operator == none || (*tenant).vartype != pg_sys::UUIDOID {
            return None;
        }
        let equality = pg_sys::make_opclause(
            operator,
            pg_sys::BOOLOID,
            false,
            copy(tenant).cast(),
            named.cast(),
            none,
            none,
        );
        pg_sys::set_opfuncid(equality.cast());
        Some(equality.cast())
    }
}

/// `via tenant`, `via organization`, …, as far as the table has such columns.
unsafe fn arms<'n>(
    row: &Row,
    names: &'n user_table::ColumnNames,
    permission: *mut pg_sys::Node,
    who: As,
) -> Option<Vec<*mut pg_sys::Node>> {
    // SAFETY: as in `replace`.
    unsafe {
        let of = |place: &str| place_node(place, who);
        let own = |name: &'n Option<String>| name.as_ref().filter(|_| names.parent.is_none());
        let places = [
            ("tenant", Some(&names.tenant)),
            ("organization", own(&names.organization)),
            ("team", own(&names.team)),
            ("project", own(&names.project)),
            ("owner", own(&names.owner)),
            // Where rows have parents, who reaches some of them reaches the tenant or the parents.
            ("key", Some(&names.key).filter(|_| names.parent.is_none())),
            ("parent", names.parent.as_ref()),
        ];
        let mut arms = Vec::new();
        for (place, name) in places {
            let Some(name) = name else {
                continue;
            };
            let (var, oid) = row.column(name)?;
            let (argument, column_type): (*mut pg_sys::Node, _) = match oid {
                // Ids kept as text are compared as uuids, however they are spelled: by an index of that expression.
                pg_sys::TEXTOID | pg_sys::VARCHAROID if !matches!(place, "key" | "parent") => {
                    (row.as_type(name, pg_sys::UUIDOID)?, pg_sys::UUIDOID)
                }
                pg_sys::VARCHAROID => (row.as_type(name, pg_sys::TEXTOID)?, pg_sys::TEXTOID),
                _ => (var.cast(), oid),
            };
            if !matches!(place, "key" | "parent") && column_type != pg_sys::UUIDOID {
                return None;
            }
            let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, column_type])?;
            arms.push(call(via, pg_sys::BOOLOID, &[permission, of(place), argument]));
        }
        let (tenant, _) = row.column(&names.tenant)?;
        if let Some(name) = &names.parent
            && let (parent, _) = row.column(name)?
            && !is_not_null(&row.relation, (*parent).varattno)
        {
            let via = function(c"via", &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::UUIDOID])?;
            let of_tenant = call(
                via,
                pg_sys::BOOLOID,
                &[permission, of("orphan tenant"), copy(tenant).cast()],
            );
            let orphan = null_test(parent, pg_sys::NullTestType::IS_NULL);
            arms.push(and_or(pg_sys::BoolExprType::AND_EXPR, &[orphan, of_tenant]));
        }
        if !is_not_null(&row.relation, (*tenant).varattno) {
            arms.push(null_test(tenant, pg_sys::NullTestType::IS_NULL));
        }
        Some(arms)
    }
}
