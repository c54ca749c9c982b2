# The rule of authorization, written from its description for another engine.
#
# data:   actions   {type: [action]}
#         catalogs  {catalog: {role: levels}}
#         scopes    {name: levels}
# levels: {"site" | "user" | "org" | "member": {type: [{"action", "negate"}]}}
# input:  catalog, subject {id, roles, groups, scope, allow}, action,
#         object {type, id, owner, org, any_org, acl_users, acl_groups}
# A role or a part of a scope is {"org"?, "table"} or {"org"?, "levels"}. Absent ids are "".
package authz

import rego.v1

default allow := false

allow if {
	input.action in data.actions[input.object.type]
	listed
	verdict(votes(ceilings))
	grounds
}

grounds if verdict(votes(grants))

grounds if shared

# What counts of the object's surroundings.

nobody := "00000000-0000-0000-0000-000000000000"

owned if {
	not input.object.owner in {"", nobody}
	input.object.owner == input.subject.id
}

homeless if {
	input.object.org == ""
	not input.object.any_org
}

memberships := {role.org | some role in input.subject.roles}

asked_orgs := memberships if input.object.any_org

asked_orgs := memberships & {input.object.org} if not input.object.any_org

# Who grants: roles, and the parts of the scope.

grants := [holder |
	some role in input.subject.roles
	holder := {
		"org": object.get(role, "org", ""),
		"levels": levels_of(role, data.catalogs[input.catalog]),
	}
]

ceilings := [holder |
	some part in input.subject.scope
	holder := {
		"org": object.get(part, "org", ""),
		"levels": levels_of(part, data.scopes),
	}
]

levels_of(part, tables) := object.get(part, "levels", object.get(tables, object.get(part, "table", ""), {}))

# Votes.

signs(holder, level) := {permission.negate |
	some type in {"*", input.object.type}
	some permission in object.get(object.get(holder.levels, level, {}), type, [])
	permission.action in {"*", input.action}
}

tally(all) := -1 if {
	true in all
} else := 1 if {
	false in all
} else := 0

everywhere(holders, level) := tally({sign |
	some holder in holders
	some sign in signs(holder, level)
})

within(holders, level, org) := tally({sign |
	some holder in holders
	holder.org == org
	some sign in signs(holder, level)
})

best(holders, level) := max({vote |
	some org in asked_orgs
	vote := within(holders, level, org)
}) if {
	count(asked_orgs) > 0
} else := 0

votes(holders) := {
	"site": everywhere(holders, "site"),
	"user": everywhere(holders, "user"),
	"org": best(holders, "org"),
	"member": best(holders, "member"),
}

verdict(vote) if vote.site == 1

verdict(vote) if {
	vote.site == 0
	below(vote)
}

below(vote) if {
	owned
	homeless
	vote.user == 1
}

below(vote) if vote.org == 1

below(vote) if {
	owned
	vote.org == 0
	vote.member == 1
}

# Sharing.

given(actions) if {
	some action in actions
	action in {"*", input.action}
}

shared if {
	count(asked_orgs) > 0
	given(input.object.acl_users[input.subject.id])
}

shared if {
	count(asked_orgs) > 0
	some group in input.subject.groups
	given(input.object.acl_groups[group])
}

shared if {
	some org in asked_orgs
	org == input.object.org
	given(input.object.acl_groups[org])
}

# The allow list.

listed if {
	some entry in input.subject.allow
	entry.type in {"*", input.object.type}
	entry.id == "*"
}

listed if {
	some entry in input.subject.allow
	entry.type in {"*", input.object.type}
	input.object.id != ""
	entry.id == input.object.id
}
