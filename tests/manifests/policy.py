"""A ValidatingAdmissionPolicy, evaluated as the API server does: conditions, then variables in order, then validations."""
import celpy
from celpy.adapter import json_to_cel


class Policy:
    def __init__(self, document):
        self.spec = document["spec"]
        self.environment = celpy.Environment()

    def value(self, expression, names):
        program = self.environment.program(self.environment.compile(expression))
        return program.evaluate(names)

    def denied(self, resource, old, new, user, name=None, subresource=""):
        """Why a request is denied; none: it is allowed."""
        about = new or old
        request = {"userInfo": user, "name": name or about["metadata"]["name"], "subResource": subresource,
                   "resource": {"resource": resource}}
        names = {"request": json_to_cel(request), "object": json_to_cel(new), "oldObject": json_to_cel(old)}
        if not all(self.value(c["expression"], names) for c in self.spec["matchConditions"]):
            return None
        variables = {}
        for variable in self.spec["variables"]:
            variables[variable["name"]] = self.value(variable["expression"], {**names, "variables": cel(variables)})
        names["variables"] = cel(variables)
        for validation in self.spec["validations"]:
            # A validation that fails to evaluate denies: failurePolicy is Fail.
            if not self.value(validation["expression"], names):
                said = validation.get("messageExpression")
                return str(self.value(said, names)) if said else validation["message"]
        return None

    def matches(self, group, resource):
        rules = self.spec["matchConstraints"]["resourceRules"]
        return any(group in r["apiGroups"] and resource in r["resources"] for r in rules)


def cel(variables):
    return celpy.celtypes.MapType({celpy.celtypes.StringType(k): v for k, v in variables.items()})
