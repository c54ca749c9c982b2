/// A type with its tracked, secret and ignored columns.
pub type Table = (&'static str, Columns, Columns, Columns);
/// Names of columns.
pub type Columns = &'static [&'static str];

/// A type that [`auditable!`](crate::auditable) declared.
pub trait Declared {
    /// What the declaration says of each column.
    const TABLE: Table;
}

/// Declares how changes of a row are shown in the audit log.
///
/// Every column is in exactly one list: *tracked* with its value, *secret* (that it changed, never what it is), or
/// *ignored*. The values in braces are functions of the row: its identifier, the name that people know it by, and the
/// organization it belongs to (nil for the deployment).
///
/// ```
/// use stdx::ids::OrganizationId;
/// use uuid::Uuid;
///
/// struct Door {
///     id: Uuid,
///     name: String,
///     code: String,
///     seen: u32,
/// }
///
/// audit::auditable! {
///     Door as "door" {
///         id: |door| door.id,
///         target: |door| door.name.clone(),
///         organization: |_| OrganizationId::nil(),
///         track: [name => name],
///         secret: [code => Some(code.as_str())],
///         ignore: [id, seen],
///     }
/// }
///
/// let door = Door { id: Uuid::nil(), name: "front".into(), code: "1234".into(), seen: 7 };
/// let shown = audit::diff(None, Some(&door));
/// assert_eq!(shown["name"]["new"], "front");
/// assert_eq!((&shown["code"]["new"], &shown["code"]["secret"]), (&"".into(), &true.into()));
/// assert!(!shown.contains_key("seen"));
/// ```
///
/// A column that is in no list does not compile:
///
/// ```compile_fail,E0027
/// struct Door { id: uuid::Uuid, name: String, code: String }
///
/// audit::auditable! {
///     Door as "door" {
///         id: |door| door.id,
///         target: |door| door.name.clone(),
///         organization: |_| stdx::ids::OrganizationId::nil(),
///         track: [name => name],
///         secret: [],
///         ignore: [id],
///     }
/// }
/// ```
///
/// nor does one that the row does not have:
///
/// ```compile_fail,E0026
/// struct Door { id: uuid::Uuid, name: String }
///
/// audit::auditable! {
///     Door as "door" {
///         id: |door| door.id,
///         target: |door| door.name.clone(),
///         organization: |_| stdx::ids::OrganizationId::nil(),
///         track: [name => name],
///         secret: [],
///         ignore: [id, code],
///     }
/// }
/// ```
///
/// nor one that is in two:
///
/// ```compile_fail,E0025
/// struct Door { id: uuid::Uuid, name: String }
///
/// audit::auditable! {
///     Door as "door" {
///         id: |door| door.id,
///         target: |door| door.name.clone(),
///         organization: |_| stdx::ids::OrganizationId::nil(),
///         track: [name => name],
///         secret: [],
///         ignore: [id, name],
///     }
/// }
/// ```
#[macro_export]
macro_rules! auditable {
    (
        $row:ident as $kind:literal {
            id: $id:expr, target: $target:expr, organization: $organization:expr,
            track: [$($track:ident => $value:expr),* $(,)?],
            secret: [$($secret:ident => $text:expr),* $(,)?],
            ignore: [$($ignore:ident),* $(,)?] $(,)?
        }
    ) => {
        impl $crate::Auditable for $row {
            const RESOURCE_TYPE: &'static str = $kind;

            fn id(&self) -> $crate::reexported::Uuid {
                let find: fn(&Self) -> $crate::reexported::Uuid = $id;
                find(self)
            }

            fn target(&self) -> String {
                let find: fn(&Self) -> String = $target;
                find(self)
            }

            fn organization(&self) -> $crate::reexported::OrganizationId {
                let find: fn(&Self) -> $crate::reexported::OrganizationId = $organization;
                find(self)
            }

            fn fields(&self) -> Vec<$crate::Field<'_>> {
                // No `..`: a new column must join one of the lists.
                let Self { $($track,)* $($secret,)* $($ignore: _,)* } = self;
                vec![
                    $($crate::Field {
                        name: stringify!($track),
                        shown: $crate::Shown::Tracked({ let $track = $track; $crate::reexported::json!($value) }),
                    },)*
                    $($crate::Field {
                        name: stringify!($secret),
                        shown: $crate::Shown::Secret({ let $secret = $secret; $text.map(Into::into) }),
                    },)*
                ]
            }
        }

        impl $crate::Declared for $row {
            const TABLE: $crate::Table =
                ($kind, &[$(stringify!($track)),*], &[$(stringify!($secret)),*], &[$(stringify!($ignore)),*]);
        }
    };
}
